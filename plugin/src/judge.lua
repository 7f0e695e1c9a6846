-- Which rules judge a segment: by its kind (G7), by whether the connection is over (X4), and whether it was captured
-- before (G8).
--
-- SPDX-License-Identifier: GPL-2.0-or-later

local vocabulary, state, notes = require("vocabulary"), require("state"), require("notes")
local opening, closing, aborting = require("opening"), require("closing"), require("aborting")

local TIMESTAMP, RECENT, IS_OPENED = vocabulary.TIMESTAMP, vocabulary.RECENT, vocabulary.IS_OPENED
local SYN_SENT, ESTABLISHED = vocabulary.SYN_SENT, vocabulary.ESTABLISHED
local INVALID, SYN, SYN_ACK = vocabulary.INVALID, vocabulary.SYN, vocabulary.SYN_ACK
local FIN, RST = vocabulary.FIN, vocabulary.RST
local SENDER, FLAGS, SEQ, ACK = vocabulary.SENDER, vocabulary.FLAGS, vocabulary.SEQ, vocabulary.ACK
local LENGTH, IDENTITY = vocabulary.LENGTH, vocabulary.IDENTITY
local distance, is_over, end_name, add_anomaly = state.distance, state.is_over, state.end_name, notes.add_anomaly
local judge_syn, judge_syn_ack, judge_opening = opening.judge_syn, opening.judge_syn_ack, opening.judge_opening
local judge_closing, judge_rst = closing.judge_closing, aborting.judge_rst

--- Settles who is the client at the first SYN or SYN-ACK (E1).
local function settle_client(connection, segment)
    if not connection.client_settled and (segment.kind == SYN or segment.kind == SYN_ACK) then
        connection.client = segment.kind == SYN and segment.sender or segment.peer
        connection.client_settled = true
    end
end

--- Returns whether a segment is a FIN that repeats that of its sender, while the attempt was not reset (X4).
local function repeats_fin(connection, segment)
    local fin_seq = connection[segment.sender].fin_seq
    return segment.kind == FIN and fin_seq ~= nil and not connection.attempt.reset_by
        and distance(segment.seq + segment.length, fin_seq) == 0
end

--- Judges a segment that is neither invalid nor RST nor SYN.
local function judge_other(connection, segment)
    if connection.fresh and segment.kind ~= SYN_ACK then -- H1
        connection[1].state, connection[2].state = ESTABLISHED, ESTABLISHED
        judge_closing(connection, segment)
    elseif is_over(connection) then -- X4
        if repeats_fin(connection, segment) then
            judge_closing(connection, segment)
        else
            segment.judged = false
            add_anomaly(segment, "segment-after-close")
        end
    elseif segment.kind == SYN_ACK then
        judge_syn_ack(connection, segment)
    elseif not judge_opening(connection, segment) then
        judge_closing(connection, segment)
    end
end

--- Judges a segment by all rules but G8.
-- @param connection the record of its connection, which changes
-- @param segment the notes on it (notes.lua), which are added to
local function judge(connection, segment)
    if connection.closed_by_error then -- N3: a segment of any kind
        connection.closed_by_error = nil
        connection[connection.client].state = SYN_SENT
    end
    if segment.kind == INVALID then -- G7
        segment.judged = false
        add_anomaly(segment, "invalid-flags")
        return
    end
    settle_client(connection, segment)
    segment.peer_name = end_name(connection, segment.peer)
    if segment.kind == RST then
        if segment.flags % 4 >= 1 then -- G7: with SYN or FIN
            add_anomaly(segment, "invalid-flags")
        end
        judge_rst(connection, segment)
    elseif segment.kind == SYN then
        judge_syn(connection, segment)
    else
        judge_other(connection, segment)
    end
    if segment.length > 0 and (segment.role == SYN or segment.role == SYN_ACK) then -- A1
        add_anomaly(segment, "syn-with-data")
    end
    connection.fresh = false
    if IS_OPENED[connection[1].state] and IS_OPENED[connection[2].state] then -- X3
        connection.attempt.opened = true
    end
end

-- ----------------------------------------------------------------------------------------------- G8. Captured twice

--- Returns whether a segment was captured before (G8).
-- @param entry what is kept of the segment
local function is_duplicate(connection, entry, kind)
    local recent, identity = connection.recent[entry[SENDER]], entry[IDENTITY]
    if not (recent and identity) then
        return false
    end
    local tells = kind == SYN or kind == FIN
    if not connection.had_duplicate and (identity == 0 or (identity >= TIMESTAMP and not tells)) then
        return false
    end
    for index = 1, #recent do
        local other = recent[index]
        if other[IDENTITY] == identity and other[FLAGS] == entry[FLAGS] and other[SEQ] == entry[SEQ]
            and other[ACK] == entry[ACK] and other[LENGTH] == entry[LENGTH] then
            return true
        end
    end
    return false
end

--- Remembers a segment with a role among its sender's recent ones. A judged one without a role clears them (X, G8).
local function note_recent(connection, segment, entry)
    local recent = connection.recent[segment.sender]
    if not segment.role then
        if segment.judged then
            connection.recent[segment.sender] = nil
        end
    elseif recent then
        recent[#recent + 1] = entry
        if #recent > RECENT then
            table.remove(recent, 1)
        end
    else
        connection.recent[segment.sender] = { entry }
    end
end

return { judge = judge, is_duplicate = is_duplicate, note_recent = note_recent }
