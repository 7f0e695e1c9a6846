-- What the tracker keeps of a capture, and the annotations made of it.
--
-- The tracker keeps only the segments of a connection that said something, or changed more than numbers (F). At first
-- they are logged as they came, because most connections of a capture are never displayed. Where segments between two
-- of them have moved numbers, the log holds the numbers before the second (numbers_of). The first time that an
-- annotation of a connection is needed, the tracker judges its log again from the beginning (G6): Tracker:review. From
-- then on it keeps each of these segments with its annotation and with the situation after it. The annotation of any
-- other segment follows from the situation in which it was sent.
--
-- SPDX-License-Identifier: GPL-2.0-or-later

local vocabulary, state, notes = require("vocabulary"), require("state"), require("notes")
local closing, connection_row = require("closing"), require("connection_row")

local floor, concat, find = math.floor, table.concat, string.find
local ESTABLISHED, INVALID, PLAIN = vocabulary.ESTABLISHED, vocabulary.INVALID, vocabulary.PLAIN
local SYN, SYN_ACK, IS_RETRANSMISSION = vocabulary.SYN, vocabulary.SYN_ACK, vocabulary.IS_RETRANSMISSION
local is_half_closed, is_simultaneous = closing.is_half_closed, state.is_simultaneous
local with_unit, note_offer = notes.with_unit, connection_row.note_offer
local note_hop_limit = require("diagnosis").note_hop_limit

--- Returns the anomaly of a segment that changes nothing but numbers, or nil. It follows from the situation in which
-- the segment is sent, or the segment is kept.
-- @param kind, length what the segment is
-- @param half_closed whether the peer has closed its direction (T6)
-- @param is_mixed whether the segments of an older connection come on this one (X7)
local function following_anomaly(kind, length, half_closed, is_mixed)
    if kind == INVALID then
        return "invalid-flags"
    elseif kind ~= PLAIN then
        return nil
    elseif is_mixed then
        return "old-connection"
    end
    return length > 0 and half_closed and "half-close-data" or nil
end

--- Returns the anomaly that a segment has on this connection if it changes nothing but numbers, or nil.
-- @param sender index of the end that sends it
local function expected_anomaly(connection, sender, kind, length)
    return following_anomaly(kind, length, is_half_closed(connection[sender], connection[3 - sender]),
        connection.is_mixed and connection.former_1)
end

--- Returns the situation of a connection: all that the annotation of a segment that changes nothing depends on. It is
-- the same table as before if nothing in it has changed.
local function situation_of(connection)
    local one, two, old, client = connection[1], connection[2], connection.situation, connection.client
    local half_closed_1, half_closed_2 = is_half_closed(one, two), is_half_closed(two, one)
    local is_mixed = connection.is_mixed and connection.former_1 ~= nil
    if old and old[1] == one.state and old[2] == two.state and old.client == client and old.is_mixed == is_mixed
        and old.half_closed_1 == half_closed_1 and old.half_closed_2 == half_closed_2 then
        return old
    end
    return {
        one.state, two.state, client = client, is_mixed = is_mixed,
        half_closed_1 = half_closed_1, half_closed_2 = half_closed_2, quiet = { {}, {} },
    }
end

-- No anomalies.
local NONE = {}

--- Returns an annotation with sender (E3) and states (X1) only.
-- @param sender index of the end that sent the segment
local function new_annotation(situation, sender)
    local client = situation.client
    return {
        sender = sender == client and "client" or "server",
        client_state = situation[client], server_state = situation[3 - client],
    }
end

--- Returns the annotation of a segment that changes nothing. A situation can give few of them, so they are shared.
-- @param situation in which it was sent
-- @param sender index of the end that sent it
-- @param kind, length what it is
local function quiet_annotation(situation, sender, kind, length)
    local half_closed = sender == 1 and situation.half_closed_1 or sender == 2 and situation.half_closed_2
    local anomaly = following_anomaly(kind, length, half_closed, situation.is_mixed)
    local prepared = situation.quiet[sender]
    local annotation = prepared[anomaly or ""]
    if not annotation then
        annotation = new_annotation(situation, sender)
        annotation.anomaly = anomaly
        prepared[anomaly or ""] = annotation
    end
    return annotation
end

--- Returns the annotation of a segment that was judged.
-- @param segment the notes on it
-- @param situation after it
local function annotation_of(connection, segment, situation)
    local client, explanations, retransmission = situation.client, segment.explanations, nil
    for anomaly in pairs(segment.anomalies or NONE) do -- A3
        retransmission = retransmission or IS_RETRANSMISSION[anomaly]
    end
    local annotation = { -- all at once: a table that grows field by field costs more
        sender = segment.sender == client and "client" or "server",
        client_state = situation[client], server_state = situation[3 - client],
        role = segment.role, anomaly = segment.anomaly,
        handshake_step = segment.handshake_step, teardown_step = segment.teardown_step,
        is_simultaneous_close = segment.teardown_step and is_simultaneous(connection) or nil,
        retransmission = retransmission,
        responds_to = segment.responds_to, response_time = segment.response_time,
        handshake_time = segment.handshake_time, teardown_time = segment.teardown_time,
        retransmission_delay = segment.retransmission_delay, -- C24
        explanation = #explanations > 0 and with_unit(concat(explanations, "; ")) or nil,
    }
    if segment.role == SYN or segment.role == SYN_ACK then
        note_offer(connection, segment, annotation)
    end
    return annotation
end

--- Returns whether nothing but the numbers of an end moves.
local function is_still(this_end)
    return this_end.phase == ESTABLISHED and not this_end.fin_seq and not this_end.awaiting
        and not this_end.challenged and this_end.next_sent ~= nil
end

--- Notes whether a connection is quiet: plain segments can neither say anything nor change anything but numbers, and
-- what note_quiet_segment notes. Such segments are only followed (F), those of an end that is known by its own
-- segments.
local function note_quiet(connection)
    local one, two = connection[1], connection[2]
    local is_quiet = one.state == ESTABLISHED and two.state == ESTABLISHED and connection.attempt.opened
        and not connection.closed_by_error and is_still(one) and is_still(two) and connection.trace.is_calm
    connection.is_quiet = is_quiet
    if is_quiet then
        one.is_known = not one.heard and one.acknowledged ~= nil
        two.is_known = not two.heard and two.acknowledged ~= nil
        one.noted_ack, one.noted_payload, two.noted_ack, two.noted_payload = false, false, false, false
    end
end

-- The names in the record by which an end remembers that note_quiet_segment was called for a segment without or with
-- payload since the connection became quiet; Z1: the letters of these, by the end that sends them.
local NOTED_ACK, NOTED_PAYLOAD = "noted_ack", "noted_payload"
local LETTERS = { [NOTED_ACK] = { "A", "a" }, [NOTED_PAYLOAD] = { "D", "d" } }

--- Notes what a quiet segment changes beside numbers: its sender spoke, and has no recent segments any more (G8); the
-- history has its letter (Z1).
-- @param index of the end that sends it
-- @param noted NOTED_PAYLOAD if it carries payload, else NOTED_ACK
local function note_quiet_segment(connection, index, noted)
    local sender = connection[index]
    sender.spoke, sender[noted] = true, true
    connection.recent[index] = nil
    if noted == NOTED_PAYLOAD then -- D
        connection.trace.first_talker = connection.trace.first_talker or index
    end
    local letters, letter = connection.history_letters, LETTERS[noted][index]
    if not find(letters, letter, 1, true) then
        connection.history_letters = letters .. letter
    end
end

--- Returns everything that a plain or invalid segment without a role and an anomaly of its own can change, but for
-- numbers and the history, unless it is the first of its connection (X, G8).
-- @param index of the end that sends it
local function marks_of(connection, index)
    local sender, peer = connection[index], connection[3 - index]
    return sender.state, peer.state, sender.phase, peer.phase, sender.spoke, sender.heard, peer.heard, peer.awaiting,
        sender.fin_seq, sender.challenged, sender.gone, sender.was_reset, connection.attempt.reset_by,
        connection.recent[index]
end

--- Returns what segments that are not in the log can have changed, as the log keeps it between two others: the numbers
-- of both ends (F) and of the former connection (X7), and what note_quiet_segment has noted.
-- @return a list that begins with a negative number, unlike an entry. What is -1 less that number is a sum: 1 and 2 if
--   the first and the second end spoke, 4 and 8 if they have no recent segments. That of a usual conversation goes on
--   with what its quiet segments tell of the trace (D): first_talker, talker and the hop limit of the second end.
local function numbers_of(connection)
    local one, two, recent = connection[1], connection[2], connection.recent
    local noted = (one.spoke and 1 or 0) + (two.spoke and 2 or 0) + (recent[1] and 0 or 4) + (recent[2] and 0 or 8)
    return {
        -1 - noted, one.next_sent, one.in_order, one.gap or false, one.acknowledged or false, one.early_ack or false,
        two.next_sent, two.in_order, two.gap or false, two.acknowledged or false, two.early_ack or false,
        connection.former_1 or false, connection.former_2 or false,
    }
end

--- Puts what numbers_of returned back into the record.
local function restore_numbers(connection, kept)
    local one, two, recent, noted = connection[1], connection[2], connection.recent, -1 - kept[1]
    one.next_sent, one.in_order, one.gap = kept[2], kept[3], kept[4] or nil
    one.acknowledged, one.early_ack = kept[5] or nil, kept[6] or nil
    two.next_sent, two.in_order, two.gap = kept[7], kept[8], kept[9] or nil
    two.acknowledged, two.early_ack = kept[10] or nil, kept[11] or nil
    connection.former_1, connection.former_2 = kept[12] or nil, kept[13] or nil
    one.spoke, two.spoke = noted % 2 >= 1, noted % 4 >= 2
    if noted % 8 >= 4 then
        recent[1] = nil
    end
    if noted >= 8 then
        recent[2] = nil
    end
    if kept[14] ~= nil then
        connection.trace.first_talker, connection.talker = kept[14] or nil, kept[15] or nil
        note_hop_limit(connection.trace, 2, kept[16])
    end
end

--- Returns the index of the last key that is not above a given one, by binary search; 0 if there is none.
-- @param keys a list of ascending numbers
local function last_up_to(keys, key)
    local low, high = 0, #keys
    while low < high do
        local middle = floor((low + high + 1) / 2)
        if keys[middle] <= key then
            low = middle
        else
            high = middle - 1
        end
    end
    return low
end

return {
    expected_anomaly = expected_anomaly, situation_of = situation_of, quiet_annotation = quiet_annotation,
    annotation_of = annotation_of, note_quiet = note_quiet,
    note_quiet_segment = note_quiet_segment, NOTED_ACK = NOTED_ACK, NOTED_PAYLOAD = NOTED_PAYLOAD,
    marks_of = marks_of, numbers_of = numbers_of,
    restore_numbers = restore_numbers, last_up_to = last_up_to,
}
