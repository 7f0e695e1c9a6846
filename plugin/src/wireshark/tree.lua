-- What users see: the tree of a segment, its expert information, and its note in the Info column.
--
-- SPDX-License-Identifier: GPL-2.0-or-later

local RST = require("vocabulary").RST
local both_closed = require("state").both_closed
local summary_of, diagnosis = require("connection_row").summary_of, require("diagnosis")
local verdict_of, evidence_text = diagnosis.verdict_of, diagnosis.evidence_text
local sentences = require("wireshark.sentences")
local sentence_of, common_sentence_of = sentences.sentence_of, sentences.common_sentence_of
local protocol, experts = require("wireshark.fields"), require("wireshark.experts")

local format, concat = string.format, table.concat
local proto, fields = protocol.proto, protocol.fields
local expert_of, slow_handshake = experts.by_anomaly, experts.slow_handshake
local expert_of_diagnosis, SLOW = experts.by_diagnosis, require("vocabulary").SLOW / 1000000000

--- Returns the text of the tree's top item.
local function summary_text(annotation)
    local parts = { annotation.role }
    if annotation.handshake_step then
        parts[#parts + 1] = format("handshake step %d of 3", annotation.handshake_step)
    end
    if annotation.teardown_step then
        -- A simultaneous close has two steps of each end, and the four have no order.
        parts[#parts + 1] = "teardown step " .. annotation.teardown_step
            .. (annotation.is_simultaneous_close and "" or " of 4")
    end
    parts[#parts + 1] = annotation.anomaly
    return format("TCP Handshake: %s%sclient %s, server %s", concat(parts, ", "), #parts > 0 and " → " or "",
        annotation.client_state, annotation.server_state)
end

--- Returns the text of the connection's subtree (C17).
local function connection_text(summary)
    local parts = { summary.establishment }
    parts[2] = summary.termination == "none" and "not closed" or summary.termination
    if summary.closed_by and summary.closed_by ~= summary.reset_by then
        parts[#parts + 1] = "closed by " .. summary.closed_by
    end
    parts[#parts + 1] = summary.reset_by and "reset by " .. summary.reset_by
    return "Connection: " .. concat(parts, ", ")
end

--- Returns the note on a segment for the Info column; empty if there is none.
local function info_note(annotation)
    if not annotation.role then
        return ""
    end
    local anomaly, step = annotation.anomaly or "", annotation.teardown_step
    if annotation.role == RST then
        if anomaly:find("connection-refused", 1, true) then
            return "[Refused] "
        end
        if anomaly:find("handshake-aborted", 1, true) then
            return "[Handshake aborted] "
        end
        return anomaly:find("rst-ignored", 1, true) and "[Reset, ignored] " or "[Reset] "
    end
    local note = ""
    if annotation.handshake_step then
        note = format("[Handshake %d/3] ", annotation.handshake_step)
    end
    if step then
        note = note .. (annotation.is_simultaneous_close and "[Simultaneous close " .. step .. "/2] "
            or "[Teardown " .. step .. "/4] ")
    end
    return note
end

-- Is this Wireshark, which has a window, or tshark?
local has_window = gui_enabled()
-- In tshark all new frames are printed with the same columns: is the Info column one of them? nil if that is not known
-- yet. In Wireshark the columns of a frame are filled when it is displayed.
local has_info

--- Returns whether anybody sees notes in the Info column.
-- @param is_new true if the frame was not processed before
local function has_notes(is_new)
    return (has_info ~= false or not is_new or has_window) and proto.prefs.info_notes
end

--- Puts the notes of a frame before the rest of the Info column. Wireshark would cut them off at its end.
-- @param notes can be empty
-- @param is_new true if the frame was not processed before
local function show_notes(notes, pinfo, is_new)
    if notes == "" or not has_notes(is_new) then
        return
    end
    pinfo.cols.info:prepend(notes)
    if has_info == nil and is_new and not has_window then
        has_info = tostring(pinfo.cols.info):sub(1, #notes) == notes
    end
end

-- TreeItem's methods add, set_generated and referenced: to look them up costs as much as to call them.
local add_item, set_generated, referenced

-- What a segment can show together, as the names of groups of fields.
local EVENT, OFFER, CONNECTION = "any event", "any offer", "any connection"
local SUMMARY, VERDICT = "any summary", "any verdict"
local GROUPS = {
    [EVENT] = {
        "role", "handshake_step", "teardown_step", "explanation", "responds_to", "answered_in", "response_time",
        "handshake_time", "retransmission_delay", "teardown_time", "retransmission", "anomaly",
    },
    [OFFER] = {
        "client_mss", "client_window_scale", "client_fast_open", "server_mss", "server_window_scale",
        "server_fast_open",
    },
    [CONNECTION] = { "stream", SUMMARY, VERDICT, "sack_permitted", "timestamps", "ecn" },
    [SUMMARY] = { "establishment", "termination", "closed_by", "reset_by", "conn_state", "history" },
    [VERDICT] = { "diagnosis", "diagnosis_text", "suspect", "evidence", "evidence_frame" },
}

-- The tree of the present frame.
local present_tree

--- Returns whether Wireshark needs a field, or one of a group, in the present tree, and keeps the answer.
-- @param answers those that are kept
-- @param name of the field or group
local function ask(answers, name)
    local members, answer = GROUPS[name], false
    for index = 1, members and #members or 0 do
        answer = answer or answers[members[index]]
    end
    if not members then
        answer = referenced(present_tree, fields[name])
    end
    answers[name] = answer
    return answer
end

local ASKING = { __index = ask }
local ALL = setmetatable({}, { __index = function()
    return true
end })
-- Does Wireshark display the tree? Then it needs all fields, else those that a filter, a column or a tap refers to.
local is_visible
-- Which fields and groups does Wireshark need in the present tree, by their names?
local needed
-- The same for all new frames of tshark, whose columns, filters and taps are set before the first one; nil before that.
local is_visible_for_new, needed_for_new

--- Prepares for a tree.
-- @param is_new true if the frame was not processed before
local function prepare(tree, is_new)
    present_tree = tree
    if is_new and needed_for_new then
        is_visible, needed = is_visible_for_new, needed_for_new
        return
    end
    is_visible = tree.visible
    needed = is_visible and ALL or setmetatable({}, ASKING)
    if is_new and not has_window then
        is_visible_for_new, needed_for_new = is_visible, needed
    end
end

--- Adds an item, and says that it stands for nothing in the frame itself; that matters only where it is displayed.
local function add_generated(item, field, value)
    local added = add_item(item, field, value)
    if is_visible then
        set_generated(added)
    end
    return added
end

--- Adds a field to an item if it has a value and Wireshark needs it.
local function add(item, name, value)
    if value ~= nil and needed[name] then
        add_generated(item, fields[name], value)
    end
end

--- Adds a field once for each part of a string that is joined with "+" (T9).
local function add_each(item, name, joined)
    if joined and needed[name] then
        for part in joined:gmatch("[^+]+") do
            add_generated(item, fields[name], tonumber(part) or part)
        end
    end
end

--- Adds the fields that only segments with a role or an anomaly have.
local function show_event(item, annotation)
    add_each(item, "role", annotation.role)
    add(item, "handshake_step", annotation.handshake_step)
    add_each(item, "teardown_step", annotation.teardown_step)
    if proto.prefs.explanations then
        add(item, "explanation", annotation.explanation)
    end
    add(item, "responds_to", annotation.responds_to)
    add(item, "answered_in", annotation.answered_in)
    add(item, "response_time", annotation.response_time)
    add(item, "handshake_time", annotation.handshake_time)
    add(item, "retransmission_delay", annotation.retransmission_delay)
    add(item, "teardown_time", annotation.teardown_time)
    add(item, "retransmission", annotation.retransmission)
    add_each(item, "anomaly", annotation.anomaly)
end

--- Adds the diagnosis (D, C17).
local function show_diagnosis(item, connection)
    local verdict = verdict_of(connection)
    add(item, "diagnosis", verdict.diagnosis)
    if needed.diagnosis_text then
        add(item, "diagnosis_text", sentence_of(connection, verdict))
    end
    add(item, "suspect", verdict.suspect)
    if needed.evidence then
        add(item, "evidence", evidence_text(verdict))
    end
    if verdict.frame then
        add(item, "evidence_frame", verdict.before)
        add(item, "evidence_frame", verdict.frame)
    end
end

--- Adds the subtree of the connection (C17). Where the tree is not displayed, its fields need none.
-- @param connection the tracker's record, which holds the values for the capture so far
local function show_connection(item, annotation, connection)
    local summary, subtree = nil, item
    if needed[SUMMARY] then
        summary = summary_of(connection)
    end
    if is_visible then
        subtree = item:add(connection_text(summary))
        subtree:set_generated()
    end
    if not annotation.sender then -- a network error
        add(subtree, "stream", annotation.stream)
    end
    if summary then
        add(subtree, "establishment", summary.establishment)
        add(subtree, "termination", summary.termination)
        add(subtree, "closed_by", summary.closed_by)
        add(subtree, "reset_by", summary.reset_by)
        add(subtree, "conn_state", summary.conn_state)
        add(subtree, "history", summary.history)
    end
    if needed[VERDICT] then
        show_diagnosis(subtree, connection)
    end
    if annotation.role then
        add(subtree, "sack_permitted", annotation.sack_permitted)
        add(subtree, "timestamps", annotation.timestamps)
        add(subtree, "ecn", annotation.ecn)
    end
end

--- Returns the expert information of a diagnosis, or nil. What a reset left unread when both ends had closed is as
-- harmless as the reset.
local function expert_for(connection, diagnosis_word)
    if diagnosis_word == "reset-with-unread-data" and both_closed(connection) then
        return expert_of_diagnosis["reset-after-close"]
    end
    return expert_of_diagnosis[diagnosis_word]
end

--- Adds the expert information on the diagnosis to a frame that shows it.
-- @param is_new true if the frame was not processed before
-- @param number of the frame
local function show_diagnosis_expert(item, connection, is_new, number)
    local verdict = verdict_of(connection)
    local item_of = expert_for(connection, verdict.diagnosis)
    if is_new and verdict.diagnosis == "peer-vanished" and not connection.trace.reset_kind then
        return -- the peer may still answer
    elseif item_of and (verdict.frame == number or verdict.before == number) then
        item:add_proto_expert_info(item_of, sentence_of(connection, verdict))
    end
end

--- Adds the expert information on each anomaly, on a slow handshake and on the diagnosis.
-- @param number of the frame
local function show_experts(item, annotation, connection, is_new, number)
    if annotation.anomaly then
        for anomaly in annotation.anomaly:gmatch("[^+]+") do
            item:add_proto_expert_info(expert_of[anomaly])
        end
    end
    local time, seconds = annotation.handshake_time, 0
    if time then
        local limit = proto.prefs.slow_handshake
        seconds = time:tonumber()
        if limit > 0 and seconds * 1000 > limit then
            item:add_proto_expert_info(slow_handshake, format("The handshake took %.3f s.", seconds))
        end
    end
    if connection.usual then
        local name = annotation.diagnosis
        if name then
            item:add_proto_expert_info(expert_of_diagnosis[name], common_sentence_of(name))
        end
    elseif not is_new or connection.trace.marked == number or seconds >= SLOW then -- few new frames show one
        show_diagnosis_expert(item, connection, is_new, number)
    end
end

-- Our dissector.
local own_dissector
-- In tshark, what is_referenced returns for all new frames; nil if that is not known yet.
local is_referenced_by_new

--- Returns whether Wireshark needs any of our fields in this tree: it displays the tree, or a filter, a column or a tap
-- uses them.
-- @param is_new true if the frame was not processed before
local function is_referenced(tree, is_new)
    local is_constant = is_new and not has_window
    if is_constant and is_referenced_by_new ~= nil then
        return is_referenced_by_new
    end
    if not own_dissector then
        own_dissector = Dissector.get("tcp_handshake")
        add_item, set_generated, referenced = tree.add, tree.set_generated, tree.referenced
    end
    local answer = referenced(tree, own_dissector)
    if is_constant then
        is_referenced_by_new = answer
    end
    return answer
end

--- Adds the tree of a segment or network error.
-- @param annotation of it; if the tree is not referenced, the notes of Tracker:take do
-- @param connection the tracker's record
-- @param needs_fields what is_referenced returned
-- @param is_new true if the frame was not processed before
-- @param number of the frame
local function show(annotation, connection, tree, needs_fields, is_new, number)
    if not needs_fields then
        -- Taps read expert information also where no field is needed.
        show_experts(tree, annotation, connection, is_new, number)
        return
    end
    prepare(tree, is_new)
    local item
    if is_visible then
        item = add_generated(tree, proto, summary_text(annotation))
    else
        item = add_item(tree, proto)
    end
    if needed[EVENT] and (annotation.role or annotation.anomaly or annotation.explanation) then
        show_event(item, annotation)
    end
    add(item, "sender", annotation.sender)
    add(item, "client_state", annotation.client_state)
    add(item, "server_state", annotation.server_state)
    if annotation.role and needed[OFFER] then
        add(item, annotation.sender .. "_mss", annotation.mss)
        add(item, annotation.sender .. "_window_scale", annotation.window_scale)
        add(item, annotation.sender .. "_fast_open", annotation.fast_open)
    end
    if needed[CONNECTION] then
        show_connection(item, annotation, connection)
    end
    show_experts(item, annotation, connection, is_new, number)
end

return {
    is_referenced = is_referenced, show = show, info_note = info_note, has_notes = has_notes, show_notes = show_notes,
}
