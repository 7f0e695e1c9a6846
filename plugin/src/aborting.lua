-- R. Aborting: how an RST changes the record.
--
-- SPDX-License-Identifier: GPL-2.0-or-later

local vocabulary, state, notes = require("vocabulary"), require("state"), require("notes")

local CLOSED, LISTEN, TIME_WAIT = vocabulary.CLOSED, vocabulary.LISTEN, vocabulary.TIME_WAIT
local SYN_SENT, SYN_RECEIVED, RST = vocabulary.SYN_SENT, vocabulary.SYN_RECEIVED, vocabulary.RST
local is_over, is_acceptable, is_opening = state.is_over, state.is_acceptable, state.is_opening
local is_passive_opener = state.is_passive_opener
local add_role, add_anomaly, answer, explain = notes.add_role, notes.add_anomaly, notes.answer, notes.explain
local mismatch, sum_of_syn = notes.mismatch, notes.sum_of_syn

--- Notes that the sender has reset the attempt. Of several RSTs that end it the first counts (C6).
local function note_reset(connection, segment)
    local attempt = connection.attempt
    attempt.reset_by = attempt.reset_by or segment.sender
end

--- Notes that the attempt was aborted before it was opened (R3, R5).
local function note_abort(connection, segment)
    connection.attempt.aborted = true
    add_anomaly(segment, "handshake-aborted")
end

--- Delivers an RST to the peer before the attempt was opened (R3, R5): a passive opener listens again (X5).
local function deliver_abort(peer)
    if peer.state == SYN_RECEIVED and is_passive_opener(peer) then
        peer.state = LISTEN
    elseif peer.state ~= LISTEN then
        peer.state = CLOSED
    end
end

--- Judges an RST that rejects an acknowledgement number (R3).
local function judge_rejection(connection, segment)
    local sender, peer = connection[segment.sender], connection[segment.peer]
    deliver_abort(peer)
    if sender.state == SYN_RECEIVED then
        note_reset(connection, segment)
        if not connection.attempt.opened then
            note_abort(connection, segment)
        end
    end
    explain(segment, "rejects the acknowledgement number %.0f, which its sequence number repeats", segment.seq)
end

--- Judges an RST that answers the peer's SYN (R4): it refuses the SYN, or the peer ignores it.
local function judge_answer_to_syn(connection, segment)
    local sender, peer = connection[segment.sender], connection[segment.peer]
    sender.state = CLOSED
    if segment.flags % 32 < 16 then -- the ACK flag is not set
        explain(segment, "acknowledges nothing, so that the %s ignores it", segment.peer_name)
    elseif is_acceptable(peer, segment.ack, peer.syn_length) then
        peer.state = CLOSED
        connection.attempt.refused = true
        note_reset(connection, segment)
        add_anomaly(segment, "connection-refused")
        answer(segment, peer.syn_frame, peer.syn_frame_time)
        explain(segment, "refuses the %s's SYN: %s", segment.peer_name, sum_of_syn(segment.ack, peer.isn))
    else
        mismatch(segment, peer)
    end
end

--- Judges an RST that ends an attempt before it was opened (R5).
local function judge_abort(connection, segment)
    connection[segment.sender].state = CLOSED
    deliver_abort(connection[segment.peer])
    note_reset(connection, segment)
    note_abort(connection, segment)
    explain(segment, "aborts the handshake before both ends were established")
end

--- Judges an RST: by the first of R1 to R6 that fits. Each RST on an opened connection is taken for accepted (R7).
local function judge_rst(connection, segment)
    local sender, peer = connection[segment.sender], connection[segment.peer]
    add_role(segment, RST)
    if connection.attempt.first_fin_by then
        add_anomaly(segment, "rst-after-fin")
    end
    if connection.fresh then -- R1
        sender.state, peer.state = CLOSED, CLOSED
        note_reset(connection, segment)
        explain(segment, "resets a connection of which nothing else was captured before")
    elseif is_over(connection) then -- R2
        add_anomaly(segment, "segment-after-close")
        for index = 1, 2 do
            if connection[index].state == TIME_WAIT then
                connection[index].state = CLOSED
            end
        end
        explain(segment, "resets a connection that is over")
    elseif is_opening(sender) and sender.rejected == segment.seq then -- R3
        judge_rejection(connection, segment)
    elseif peer.state == SYN_SENT then -- R4
        judge_answer_to_syn(connection, segment)
    elseif not connection.attempt.opened then -- R5
        judge_abort(connection, segment)
    else -- R6
        sender.state, peer.state = CLOSED, CLOSED
        note_reset(connection, segment)
        explain(segment, "resets the connection")
    end
end

return { judge_rst = judge_rst }
