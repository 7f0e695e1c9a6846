-- H. Opening: how a SYN, a SYN-ACK, and plain and FIN segments while opening change the record.
--
-- Each function takes the connection and the notes on the segment. X2 is is_acceptable of state.lua: a SYN-ACK can
-- acknowledge the payload of the SYN, a plain or FIN segment all that fits into the first window.
--
-- SPDX-License-Identifier: GPL-2.0-or-later

local vocabulary, state, notes = require("vocabulary"), require("state"), require("notes")

local max = math.max
local HALF, FIRST_WINDOW = vocabulary.HALF, vocabulary.FIRST_WINDOW
local CLOSED, LISTEN, ESTABLISHED = vocabulary.CLOSED, vocabulary.LISTEN, vocabulary.ESTABLISHED
local SYN_SENT, SYN_RECEIVED = vocabulary.SYN_SENT, vocabulary.SYN_RECEIVED
local SYN, SYN_ACK, FIN, HANDSHAKE_ACK = vocabulary.SYN, vocabulary.SYN_ACK, vocabulary.FIN, vocabulary.HANDSHAKE_ACK
local distance, new_end, new_attempt, forget_fin = state.distance, state.new_end, state.new_attempt, state.forget_fin
local is_over, is_acceptable, is_idle, is_opening = state.is_over, state.is_acceptable, state.is_idle, state.is_opening
local precedes_first, end_name = state.precedes_first, state.end_name
local add_role, add_anomaly, explain, answer = notes.add_role, notes.add_anomaly, notes.explain, notes.answer
local explain_ack, mismatch, reject = notes.explain_ack, notes.mismatch, notes.reject

--- Explains the sequence number of a SYN or SYN-ACK.
-- @param verb what the segment does with it; "proposes" if nil
local function explain_isn(segment, verb)
    explain(segment, "%s the initial sequence number %.0f", verb or "proposes", segment.seq)
end

--- Notes the role SYN, step 1, and the latest transmission of the SYN.
-- @param retransmission true if the SYN was sent before
local function note_syn(connection, segment, retransmission)
    local sender = connection[segment.sender]
    add_role(segment, SYN)
    segment.handshake_step = 1
    connection.attempt.syn_seen = true
    connection.attempt[segment.sender] = true
    sender.progress = max(sender.progress, 1)
    sender.syn_length = max(sender.syn_length, segment.length) -- X: the largest of all its transmissions
    -- H10: what answers the SYN answers its latest transmission.
    sender.syn_frame, sender.syn_frame_time = segment.frame, segment.time
    if retransmission then
        add_anomaly(segment, "syn-retransmission")
    end
    explain_isn(segment, retransmission and "repeats")
end

--- Remembers a SYN as that of its sender. Its time is that of the first transmission (H10).
local function remember_syn(connection, segment)
    local sender = connection[segment.sender]
    sender.isn, sender.syn_seen, sender.syn_time = segment.seq, true, segment.time
    note_syn(connection, segment, false)
end

--- Begins another attempt (H2, H6): forgets everything of the former one but the time of the same SYN.
local function begin_attempt(connection, segment)
    local former, sender = connection[segment.sender], new_end(SYN_SENT)
    connection[segment.sender], connection[segment.peer] = sender, new_end(LISTEN)
    connection.attempt = new_attempt()
    if former.syn_seen and former.isn == segment.seq then
        sender.isn, sender.syn_seen, sender.syn_time = former.isn, true, former.syn_time
        note_syn(connection, segment, true)
    else
        remember_syn(connection, segment)
        add_anomaly(segment, "port-reuse")
    end
end

--- Returns whether a SYN was captured after what followed it (H4).
local function is_late_syn(sender, peer, segment)
    if sender.isn then
        return false
    end
    local answered = peer.syn_ack_seen and distance(peer.syn_ack_number, segment.seq + 1) <= segment.length
    return answered or precedes_first(sender, peer, segment.seq)
end

--- Judges a SYN: by the first of H1 to H7 that fits.
local function judge_syn(connection, segment)
    local sender, peer = connection[segment.sender], connection[segment.peer]
    if connection.fresh then -- H1
        sender.state, peer.state = SYN_SENT, LISTEN
        remember_syn(connection, segment)
    elseif is_over(connection) then -- H2
        begin_attempt(connection, segment)
    elseif sender.syn_seen and sender.isn == segment.seq then -- H3
        if sender.progress == 1 and sender.state == ESTABLISHED then
            sender.state = SYN_SENT
        end
        if peer.state == CLOSED then
            peer.state = LISTEN
        end
        note_syn(connection, segment, true)
    elseif is_late_syn(sender, peer, segment) then -- H4
        remember_syn(connection, segment)
    elseif peer.state == SYN_SENT and not sender.syn_seen and is_idle(sender) then -- H5
        remember_syn(connection, segment)
        sender.state, peer.state = SYN_RECEIVED, SYN_RECEIVED
        connection.attempt.simultaneous_open = true
        add_anomaly(segment, "simultaneous-open")
    elseif sender.state == SYN_SENT and is_idle(peer) then -- H6
        begin_attempt(connection, segment)
    else -- H7
        connection[segment.sender] = new_end(SYN_SENT)
        connection.attempt = new_attempt()
        forget_fin(peer)
        explain(segment, "comes on a live connection: the %s may have restarted", end_name(connection, segment.sender))
        remember_syn(connection, segment)
        add_anomaly(segment, "syn-on-established")
    end
end

--- Notes the role SYN-ACK, step 2.
local function note_syn_ack(connection, segment)
    local sender = connection[segment.sender]
    add_role(segment, SYN_ACK)
    segment.handshake_step = 2
    connection.attempt.syn_ack_seen = true
    connection.attempt[segment.sender] = true
    sender.progress = max(sender.progress, 2)
end

--- Remembers a SYN-ACK as that of its sender.
-- @param awaiting true if it has not been acknowledged
local function remember_syn_ack(connection, segment, awaiting)
    local sender = connection[segment.sender]
    sender.isn, sender.syn_ack_seen = segment.seq, true
    sender.syn_ack_number = segment.ack
    sender.syn_ack_frame, sender.syn_ack_frame_time = segment.frame, segment.time
    sender.awaiting = awaiting
end

--- Notes that a SYN-ACK, which is not mismatched, answers the peer's latest SYN if that was seen.
local function answer_syn(connection, segment)
    local peer = connection[segment.peer]
    connection.attempt.syn_ack_matched = true
    if peer.syn_seen then
        answer(segment, peer.syn_frame, peer.syn_frame_time)
    end
    if is_acceptable(peer, segment.ack, peer.syn_length) then
        explain_ack(segment, peer, "SYN")
    elseif not peer.isn then
        explain(segment, "acknowledges a SYN of the %s that was not captured", segment.peer_name)
    end
end

--- Judges a SYN-ACK that was sent before (H8.1).
local function judge_repeated_syn_ack(connection, segment)
    local sender, peer = connection[segment.sender], connection[segment.peer]
    note_syn_ack(connection, segment)
    add_anomaly(segment, "syn-ack-retransmission")
    if peer.isn and not is_acceptable(peer, segment.ack, peer.syn_length) then
        mismatch(segment, peer)
        return
    end
    sender.syn_ack_frame, sender.syn_ack_frame_time = segment.frame, segment.time
    sender.syn_ack_number = segment.ack
    answer_syn(connection, segment)
    explain_isn(segment, "repeats")
    if sender.progress == 2 then
        sender.awaiting = true
        if sender.state == ESTABLISHED then
            sender.state = SYN_RECEIVED
        end
    end
    if is_opening(peer) then
        peer.state, peer.awaiting = ESTABLISHED, false
    end
end

--- Judges a SYN-ACK: by H1, or by the first case of H8 that fits.
local function judge_syn_ack(connection, segment)
    local sender, peer = connection[segment.sender], connection[segment.peer]
    local peer_opening = is_opening(peer)
    local acceptable = is_acceptable(peer, segment.ack, peer.syn_length)
    if connection.fresh then -- H1
        sender.state, peer.state = SYN_RECEIVED, ESTABLISHED
        note_syn_ack(connection, segment)
        remember_syn_ack(connection, segment, true)
        answer_syn(connection, segment)
        explain_isn(segment)
    elseif sender.syn_ack_seen and sender.isn == segment.seq then -- H8.1
        judge_repeated_syn_ack(connection, segment)
    elseif peer_opening and not acceptable then -- H8.2
        note_syn_ack(connection, segment)
        reject(segment, peer)
        if peer.state == SYN_SENT then
            remember_syn_ack(connection, segment, true)
            sender.state = SYN_RECEIVED
        end
    elseif peer_opening then -- H8.3
        -- In a simultaneous open the peer can have acknowledged the sender's own SYN already.
        local acknowledged = sender.state == ESTABLISHED and sender.isn == segment.seq
        note_syn_ack(connection, segment)
        answer_syn(connection, segment)
        explain_isn(segment)
        remember_syn_ack(connection, segment, not acknowledged)
        peer.state, peer.awaiting = ESTABLISHED, false
        if not acknowledged then
            sender.state = SYN_RECEIVED
        end
    elseif not sender.isn and (acceptable or precedes_first(sender, peer, segment.seq)) then -- H8.4
        note_syn_ack(connection, segment)
        answer_syn(connection, segment)
        explain_isn(segment)
        remember_syn_ack(connection, segment, peer.progress < 3)
    else -- H8.5
        add_anomaly(segment, "syn-on-established")
        explain(segment, "comes on a live connection and has no effect: the %s awaits no SYN-ACK", segment.peer_name)
        explain_isn(segment)
    end
end

--- Notes the role HANDSHAKE-ACK, step 3 (H9.2, H9.4), with the handshake time (H10). A SYN-ACK that is repeated can get
-- one several times (H11).
local function note_handshake_ack(connection, segment)
    local sender = connection[segment.sender]
    add_role(segment, HANDSHAKE_ACK)
    segment.handshake_step = 3
    connection.attempt.third_step_seen = true
    if sender.syn_seen then
        segment.handshake_time = segment.subtract(segment.time, sender.syn_time)
    end
end

--- Returns whether a segment shows that its sender's SYN was acknowledged (H9.5).
local function shows_acknowledged_syn(sender, peer, segment)
    if segment.kind == FIN then
        return true
    end
    if sender.syn_ack_seen then
        local beyond = distance(segment.ack, sender.syn_ack_number)
        if beyond >= 1 and beyond < HALF then
            return true
        end
    end
    -- RFC 7413: a server that took data from the SYN may send at once.
    local took_data = sender.syn_ack_seen and peer.isn ~= nil
        and distance(sender.syn_ack_number, peer.isn + 1) ~= 0
    return segment.length > 0 and not took_data
end

--- Judges a plain or FIN segment while the connection is opening: by all of H9.1 to H9.6, in this order.
-- @return true if the segment is stopped: nothing further of it counts
local function judge_opening(connection, segment)
    local sender, peer = connection[segment.sender], connection[segment.peer]
    local acceptable = is_acceptable(peer, segment.ack, FIRST_WINDOW)
    if peer.state == SYN_SENT then -- H9.1
        if is_idle(sender) then
            sender.state = ESTABLISHED
        end
        if not acceptable then
            reject(segment, peer)
            return true
        end
        peer.state = ESTABLISHED
    end
    local third_step = false
    if peer.awaiting then -- H9.2
        if acceptable then
            third_step = true
            note_handshake_ack(connection, segment)
            answer(segment, peer.syn_ack_frame, peer.syn_ack_frame_time)
            explain_ack(segment, peer, "SYN-ACK")
            if peer.state == SYN_RECEIVED then
                peer.state = ESTABLISHED
            end
            peer.awaiting = false
        elseif peer.state == SYN_RECEIVED then
            reject(segment, peer)
            return true
        end
    elseif peer.state == SYN_RECEIVED then -- H9.3
        if not acceptable then
            reject(segment, peer)
            return true
        end
        peer.state = ESTABLISHED
        explain_ack(segment, peer, "SYN")
    end
    if sender.state == SYN_SENT then -- H9.4
        sender.state = ESTABLISHED
        if is_idle(peer) then
            peer.state = ESTABLISHED
        end
        if not third_step and not peer.syn_ack_seen
            and distance(segment.seq, sender.isn + 1) <= sender.syn_length then
            note_handshake_ack(connection, segment)
            explain(segment, "acknowledges a SYN-ACK of the %s that was not captured", segment.peer_name)
        end
    end
    if sender.state == SYN_RECEIVED and shows_acknowledged_syn(sender, peer, segment) then -- H9.5
        sender.state = ESTABLISHED
    end
    if is_idle(sender) and not sender.fin_seq then -- H9.6
        sender.state = ESTABLISHED
    end
    return false
end

return { judge_syn = judge_syn, judge_syn_ack = judge_syn_ack, judge_opening = judge_opening }
