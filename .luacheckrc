-- The plugin runs on Lua 5.2 (Wireshark 4.0) to 5.4 (4.4 and later), inside Wireshark or without it.
stds.wireshark = {
    read_globals = {
        "Proto", "ProtoField", "ProtoExpert", "Pref", "Field", "Dissector", "base", "expert", "frametype",
        "get_version", "set_plugin_info", "report_failure", "register_postdissector", "register_stat_cmd_arg", "Listener",
        "gui_enabled", "register_menu", "MENU_TOOLS_UNSORTED", "TextWindow", "copy_to_clipboard", "set_filter",
        "apply_filter",
    },
}
std = "lua52c+wireshark"
max_line_length = 120
include_files = { "plugin/**/*.lua" }
-- The state machine uses nothing of Wireshark. main decides which of the two it is.
files["plugin/src/*.lua"] = { std = "lua52c" }
files["plugin/src/main.lua"] = { std = "lua52c+wireshark" }
