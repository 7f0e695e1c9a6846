-- The tables of the connections and of their diagnoses: the statistics for tshark, and the entries of Wireshark's Tools
-- menu.
--
-- SPDX-License-Identifier: GPL-2.0-or-later

local summary_of = require("connection_row").summary_of
local verdict_of, sentences = require("diagnosis").verdict_of, require("wireshark.sentences")
local current_tracker = require("wireshark.dissector").current_tracker

local max, min, format, concat, tostring = math.max, math.min, string.format, table.concat, tostring

local HEADINGS = {
    "stream", "frame", "client", "server", "establishment", "handshake_ms", "termination", "closed_by",
    "reset_by", "teardown_ms", "conn_state", "history", "anomalies",
}
local DIAGNOSIS_HEADINGS = { "connections", "diagnosis", "suspect", "display filter" }
local IS_NUMBER = { stream = true, frame = true, handshake_ms = true, teardown_ms = true, connections = true }
-- A window with more rows takes long to open.
local MAX_ROWS = 10000
-- How many connections of each diagnosis the window of the diagnoses lists.
local MAX_MEMBERS = 100
-- How many of the slowest handshakes the menu entry shows.
local SLOWEST_COUNT = 10

--- Returns an address, or the name that Wireshark gives it, with a port. Control characters are replaced, because names
-- come from the network.
local function end_text(address, port)
    local text = tostring(address):gsub("%c", "?")
    return format(text:find(":", 1, true) and "[%s]:%d" or "%s:%d", text, port)
end

--- Returns a time in milliseconds as text; empty if there is none.
local function milliseconds(time)
    return time and format("%.3f", time:tonumber() * 1000) or ""
end

--- Returns the connections of the capture so far, ordered by stream.
-- @param max_rows how many at most
-- @return a list of tables with a string for each of HEADINGS
-- @return how many connections there are
local function connection_rows(max_rows)
    local tracker, streams = current_tracker(), {}
    for stream in pairs(tracker.connections) do
        streams[#streams + 1] = stream
    end
    table.sort(streams)
    local rows = {}
    for index = 1, min(#streams, max_rows) do
        local connection = tracker:record(streams[index])
        local summary = summary_of(connection)
        rows[index] = {
            stream = format("%d", connection.stream), frame = format("%d", connection.first_frame),
            client = end_text(summary.client, summary.client_port),
            server = end_text(summary.server, summary.server_port),
            establishment = summary.establishment, handshake_ms = milliseconds(summary.handshake_time),
            termination = summary.termination, closed_by = summary.closed_by or "",
            reset_by = summary.reset_by or "",
            teardown_ms = milliseconds(summary.teardown_time),
            conn_state = summary.conn_state, history = summary.history or "", anomalies = summary.anomalies or "",
        }
    end
    return rows, #streams
end

--- Returns rows as CSV with a heading.
local function csv_text(rows)
    local lines = { concat(HEADINGS, ",") }
    for index, row in ipairs(rows) do
        local cells = {}
        for column, heading in ipairs(HEADINGS) do
            local text = row[heading]
            cells[column] = text:find('[",]') and '"' .. text:gsub('"', '""') .. '"' or text
        end
        lines[index + 1] = concat(cells, ",")
    end
    return concat(lines, "\n") .. "\n"
end

--- Returns rows as a table in columns.
local function table_text(rows, headings)
    local lines = {}
    for index = 0, #rows do
        lines[index + 1] = ""
    end
    for _, heading in ipairs(headings) do
        local width = #heading
        for _, row in ipairs(rows) do
            width = max(width, #row[heading])
        end
        for index = 0, #rows do
            local text = index == 0 and heading or rows[index][heading]
            local space = (" "):rep(width - #text)
            lines[index + 1] = lines[index + 1] .. (IS_NUMBER[heading] and space .. text or text .. space) .. "  "
        end
    end
    return ((concat(lines, "\n") .. "\n"):gsub(" +\n", "\n"))
end

--- Returns rows as short lines, because a window is narrow and breaks long ones.
-- @param count how many connections there are
local function record_text(rows, count)
    local lines = {}
    local function add_line(template, ...)
        lines[#lines + 1] = format(template, ...)
    end
    for _, row in ipairs(rows) do
        add_line("stream %s, frame %s: %s → %s", row.stream, row.frame, row.client, row.server)
        add_line("    opening: %s%s", row.establishment,
            row.handshake_ms ~= "" and " in " .. row.handshake_ms .. " ms" or "")
        add_line("    closing: %s%s%s%s", row.termination, row.closed_by ~= "" and " by " .. row.closed_by or "",
            row.reset_by ~= "" and row.reset_by ~= row.closed_by and ", reset by " .. row.reset_by or "",
            row.teardown_ms ~= "" and " in " .. row.teardown_ms .. " ms" or "")
        if row.anomalies ~= "" then
            add_line("    unusual: %s", (row.anomalies:gsub("%+", ", ")))
        end
    end
    if count > #rows then
        add_line("... and %d more: Copy as CSV has all of them.", count - #rows)
    end
    return concat(lines, "\n")
end

--- Returns the connections of the capture so far by their diagnosis and suspect, the most harmful first.
-- @return a list of tables with a string for each of DIAGNOSIS_HEADINGS, and members: a list of connections by stream
local function diagnosis_groups()
    local groups, by_name = {}, {}
    local tracker = current_tracker()
    for stream in pairs(tracker.connections) do
        local connection = tracker:record(stream)
        local verdict = verdict_of(connection)
        local diagnosis, suspect = verdict.diagnosis, verdict.suspect or ""
        local name = diagnosis .. " " .. suspect
        local group = by_name[name]
        if not group then
            group = {
                diagnosis = diagnosis, suspect = suspect, members = {},
                ["display filter"] = format('tcp_handshake.diagnosis == "%s" && %s', diagnosis,
                    suspect == "" and "!tcp_handshake.suspect" or format('tcp_handshake.suspect == "%s"', suspect)),
            }
            by_name[name], groups[#groups + 1] = group, group
        end
        group.members[#group.members + 1] = connection
    end
    for _, group in ipairs(groups) do
        group.connections = format("%d", #group.members)
        table.sort(group.members, function(one, other)
            return one.stream < other.stream
        end)
    end
    table.sort(groups, function(one, other)
        local rank, other_rank = sentences.rank_of[one.diagnosis], sentences.rank_of[other.diagnosis]
        if rank ~= other_rank then
            return rank < other_rank
        end
        return one.suspect < other.suspect
    end)
    return groups
end

--- Returns the groups of diagnosis_groups as short lines for a window.
local function diagnosis_text(groups)
    local lines = {}
    local function add_line(template, ...)
        lines[#lines + 1] = format(template, ...)
    end
    for _, group in ipairs(groups) do
        local members = group.members
        add_line("%s%s: %d", group.diagnosis, group.suspect ~= "" and ", suspect: " .. group.suspect or "", #members)
        add_line("    %s", group["display filter"])
        for index = 1, min(#members, MAX_MEMBERS) do
            local connection = members[index]
            local client, server = connection.client, 3 - connection.client
            add_line("    stream %d, frame %d: %s → %s", connection.stream,
                verdict_of(connection).frame or connection.first_frame,
                end_text(connection.addresses[client], connection.ports[client]),
                end_text(connection.addresses[server], connection.ports[server]))
            if index == 1 then
                add_line("        %s", sentences.sentence_of(connection, verdict_of(connection)))
            end
        end
        if #members > MAX_MEMBERS then
            add_line("    ... and %d more: the filter finds them.", #members - MAX_MEMBERS)
        end
    end
    return concat(lines, "\n")
end

-- tshark -q -z tcp_handshake,connections
register_stat_cmd_arg("tcp_handshake,connections", function()
    local listener = Listener.new()
    function listener.draw()
        local rows = connection_rows(math.huge)
        io.stdout:write(table_text(rows, HEADINGS))
    end
end)

-- tshark -q -z tcp_handshake,diagnosis
register_stat_cmd_arg("tcp_handshake,diagnosis", function()
    local listener = Listener.new()
    function listener.draw()
        io.stdout:write(table_text(diagnosis_groups(), DIAGNOSIS_HEADINGS))
    end
end)

--- Opens a window with a text.
local function open_window(title, text)
    local window = TextWindow.new(title)
    window:set_atclose(function()
        window = nil -- the reference is kept until here, since Lua closes a window that it collects as garbage
    end)
    window:set(text)
    return window
end

if gui_enabled() then
    register_menu("TCP Handshake: diagnosis", function()
        open_window("TCP Handshake: diagnosis", diagnosis_text(diagnosis_groups()))
    end, MENU_TOOLS_UNSORTED)

    register_menu("TCP Handshake: connections", function()
        local rows, count = connection_rows(MAX_ROWS)
        local window = open_window("TCP Handshake: connections", record_text(rows, count))
        window:add_button("Copy as CSV", function()
            copy_to_clipboard(csv_text((connection_rows(math.huge))))
        end)
    end, MENU_TOOLS_UNSORTED)

    register_menu("TCP Handshake: failed opens", function()
        set_filter("tcp_handshake.establishment in "
            .. '{"refused", "unanswered", "invalid-answer", "unreachable", "half-open", "aborted"}')
        apply_filter()
    end, MENU_TOOLS_UNSORTED)

    register_menu("TCP Handshake: slowest handshakes", function()
        local tracker, timed = current_tracker(), {}
        for stream in pairs(tracker.connections) do
            local connection = tracker:record(stream)
            if connection.handshake_time then
                timed[#timed + 1] = connection
            end
        end
        table.sort(timed, function(one, other)
            return other.handshake_time < one.handshake_time
        end)
        local streams = {}
        for index = 1, min(#timed, SLOWEST_COUNT) do
            streams[index] = format("%d", timed[index].stream)
        end
        if #streams == 0 then
            report_failure("TCP Handshake: the capture holds no handshake from SYN to third step.")
            return
        end
        set_filter("tcp_handshake.handshake_step && tcp.stream in {" .. concat(streams, ", ") .. "}")
        apply_filter()
    end, MENU_TOOLS_UNSORTED)
end
