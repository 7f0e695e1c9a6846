-- Tells the file PROBE_LOG what the plugin does in Wireshark, as entries of a kind, a text and a form feed; in tshark the
-- packets only. Loaded before the plugin.
--
-- SPDX-License-Identifier: GPL-2.0-or-later

local log = assert(io.open(os.getenv("PROBE_LOG"), "a"))

local is_reloaded = log:seek("end") > 0

local function tell(kind, text)
    log:write(kind, "\n", text, "\f")
    log:flush()
end

local packets = {}
local tap = Listener.new("frame", nil, true)

function tap.reset()
    packets = {}
end

function tap.packet(pinfo)
    local words = { tostring(pinfo.number), tostring(pinfo.abs_ts) }
    for _, field in ipairs({ all_field_infos() }) do
        if field.name:find("^tcp_handshake") or field.name == "_ws.lua.error" then
            words[#words + 1] = field.name .. "=" .. field.display
        end
    end
    packets[#packets + 1] = table.concat(words, "\t")
end

function tap.draw()
    collectgarbage()
    tell("packets", table.concat(packets, "\n"))
end

if not gui_enabled() then
    return
end

for name, value in pairs({ off = false, on = true }) do
    register_menu("Probe: explanations " .. name, function()
        set_preference("tcp_handshake.explanations", value)
        redissect_packets()
    end, MENU_TOOLS_UNSORTED)
end

-- Scripts share _G; an assignment to a global stays in its script.
local new_window, filter, copy = TextWindow.new, set_filter, copy_to_clipboard

--- A window whose button is pressed at once. It is real until Lua is reloaded: Wireshark 4.4 with Qt 6.8 crashes when a
-- window takes the place in memory of one that was closed.
function TextWindow.new(title)
    local window = not is_reloaded and new_window(title)
    local told = {}
    function told:set(text)
        if window then
            window:set(text)
        end
        tell("window", window and window:get_text() or text)
    end
    function told:add_button(label, action)
        action()
        if window then
            window:add_button(label, action)
        end
    end
    function told:set_atclose(action)
        if window then
            window:set_atclose(action)
        end
    end
    return told
end

function _G.set_filter(text)
    filter(text)
    tell("filter", text)
end

function _G.copy_to_clipboard(text)
    copy(text)
    tell("clipboard", text)
end
