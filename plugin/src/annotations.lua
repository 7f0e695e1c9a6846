-- What the tracker keeps of a capture, and the annotations made of it.
--
-- The tracker keeps only the segments of a connection that changed or said something. At first they are logged as they
-- came, because most connections of a capture are never displayed. The first time that an annotation of a connection is
-- needed, the tracker judges its log again from the beginning (G6): Tracker:review. From then on it keeps each of these
-- segments with its annotation and with the situation after it. The annotation of any other segment follows from the
-- situation in which it was sent.
--
-- SPDX-License-Identifier: GPL-2.0-or-later

local vocabulary, state, notes = require("vocabulary"), require("state"), require("notes")
local closing, connection_row = require("closing"), require("connection_row")

local floor, concat = math.floor, table.concat
local ESTABLISHED, INVALID, PLAIN = vocabulary.ESTABLISHED, vocabulary.INVALID, vocabulary.PLAIN
local SYN, SYN_ACK, IS_RETRANSMISSION = vocabulary.SYN, vocabulary.SYN_ACK, vocabulary.IS_RETRANSMISSION
local is_over, is_after_fin, is_half_closed = state.is_over, closing.is_after_fin, closing.is_half_closed
local join_anomalies, with_unit, note_offer = notes.join_anomalies, notes.with_unit, connection_row.note_offer

--- Returns the situation of a connection: all that the annotation of a segment that changes nothing depends on. It is
-- the same table as before if nothing in it has changed.
local function situation_of(connection)
    local one, two, old = connection[1], connection[2], connection.situation
    local client, over = connection.client, is_over(connection)
    local half_closed_1, half_closed_2 = is_half_closed(one, two), is_half_closed(two, one)
    if old and old[1] == one.state and old[2] == two.state and old.client == client and old.over == over
        and old.fin_seq_1 == one.fin_seq and old.fin_seq_2 == two.fin_seq
        and old.half_closed_1 == half_closed_1 and old.half_closed_2 == half_closed_2 then
        return old
    end
    return {
        one.state, two.state, client = client, over = over, fin_seq_1 = one.fin_seq, fin_seq_2 = two.fin_seq,
        half_closed_1 = half_closed_1, half_closed_2 = half_closed_2, quiet = { {}, {} },
    }
end

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
-- @param kind, seq, length what it is
local function quiet_annotation(situation, sender, kind, seq, length)
    local anomaly
    if kind == INVALID then
        anomaly = "invalid-flags"
    elseif situation.over then
        anomaly = "segment-after-close"
    elseif kind == PLAIN and length > 0 then -- T2
        local fin_seq, half_closed = situation.fin_seq_1, situation.half_closed_1
        if sender == 2 then
            fin_seq, half_closed = situation.fin_seq_2, situation.half_closed_2
        end
        local after_fin = is_after_fin(fin_seq, seq, length)
        if half_closed or after_fin then
            anomaly = join_anomalies({ ["half-close-data"] = half_closed, ["data-after-fin"] = after_fin })
        end
    end
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
    local annotation = new_annotation(situation, segment.sender)
    local explanations = segment.explanations
    annotation.role, annotation.anomaly = segment.role, segment.anomaly
    annotation.handshake_step, annotation.teardown_step = segment.handshake_step, segment.teardown_step
    annotation.is_simultaneous_close = segment.is_simultaneous_close
    for anomaly in pairs(segment.anomalies or {}) do -- A3
        if IS_RETRANSMISSION[anomaly] then
            annotation.retransmission = true
        end
    end
    annotation.responds_to, annotation.response_time = segment.responds_to, segment.response_time
    annotation.handshake_time, annotation.teardown_time = segment.handshake_time, segment.teardown_time
    annotation.explanation = #explanations > 0 and with_unit(concat(explanations, "; ")) or nil
    if segment.role == SYN or segment.role == SYN_ACK then
        note_offer(connection, segment, annotation)
    end
    return annotation
end

--- Returns whether plain segments of an end can skip the rules, because they can neither change nor say anything.
-- @param index of the end
local function is_steady(connection, index)
    local sender, peer = connection[index], connection[3 - index]
    return sender.state == ESTABLISHED and peer.state == ESTABLISHED and sender.progress == 3 and not peer.awaiting
        and not sender.fin_seq and not peer.fin_seq and not connection.recent[index]
end

-- Quiet are plain segments that can neither change nor say anything, nor add to the history (Z1). with_payload names
-- the ends whose segments with payload are quiet, without those whose segments without payload are: 1 or 2 is one end,
-- 3 are both, 0 is neither. There is one table for each combination.
local QUIET = {}
for with_payload = 0, 3 do
    QUIET[with_payload] = {}
    for without = 0, 3 do
        QUIET[with_payload][without] = { with_payload = with_payload, without = without }
    end
end
local ALL_QUIET, NONE_QUIET = QUIET[3][3], QUIET[0][0]

--- Returns which plain segments of a connection are quiet now: a table of QUIET, or nil for none.
local function quiet_of(connection)
    local with_payload, without, letters = 0, 0, connection.history_letters
    if is_steady(connection, 1) then
        with_payload, without = letters:find("D", 1, true) and 1 or 0, letters:find("A", 1, true) and 1 or 0
    end
    if is_steady(connection, 2) then
        with_payload = with_payload + (letters:find("d", 1, true) and 2 or 0)
        without = without + (letters:find("a", 1, true) and 2 or 0)
    end
    local quiet = QUIET[with_payload][without]
    return quiet ~= NONE_QUIET and quiet or nil
end

--- Returns everything that a segment without a role and an anomaly of its own can change, unless it is the first of its
-- connection (X, G8, Z1).
-- @param index of the end that sends it
local function marks_of(connection, index)
    local sender, peer = connection[index], connection[3 - index]
    return sender.state, peer.state, sender.progress, connection.recent[index], connection.history_letters
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
    situation_of = situation_of, quiet_annotation = quiet_annotation, annotation_of = annotation_of,
    quiet_of = quiet_of, marks_of = marks_of, last_up_to = last_up_to, ALL_QUIET = ALL_QUIET,
}
