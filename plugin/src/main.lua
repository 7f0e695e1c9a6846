-- Where the plugin begins: returns the state machine without Wireshark, else registers the plugin in Wireshark.
--
-- SPDX-License-Identifier: GPL-2.0-or-later

local vocabulary, annotator = require("vocabulary"), require("annotator")

local VERSION = "@VERSION@" -- `make plugin` puts the version of pybridge/version.py here

if not Proto then
    return { new = annotator.new, VERSION = VERSION, ANOMALIES = vocabulary.ANOMALIES }
end

local version = tostring(get_version and get_version() or "an older one")
if (tonumber(version:match("^%d+")) or 0) < 4 then
    local complain = report_failure or print
    complain(string.format("tcp_handshake.lua needs Wireshark 4.0 or later; this is %s. It is not loaded.", version))
    return
end

-- Wireshark can load the file twice, where it is installed and named by -X lua_script too. The first one stays.
local is_there, loaded_before = pcall(Dissector.get, "tcp_handshake")
if is_there and loaded_before then
    return
end

if set_plugin_info then
    set_plugin_info({
        version = VERSION,
        description = "Annotates how TCP connections are opened, closed and aborted",
    })
end

require("wireshark.dissector")
require("wireshark.tools")
