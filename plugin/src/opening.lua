-- H. Opening: how a SYN, a SYN-ACK, and plain and FIN segments while opening change the record.
--
-- Each function takes the connection and the notes on the segment. What an end is or becomes here is its phase (H). X2
-- is is_acceptable of state.lua: a SYN-ACK can acknowledge the payload of the SYN, a plain or FIN segment all that fits
-- into the first window.
--
-- SPDX-License-Identifier: GPL-2.0-or-later

local vocabulary, state, numbers = require("vocabulary"), require("state"), require("numbers")
local notes, diagnosis = require("notes"), require("diagnosis")

local max, remove = math.max, table.remove
local MODULUS, FIRST_WINDOW, SYNS = vocabulary.MODULUS, vocabulary.FIRST_WINDOW, vocabulary.SYNS
local CLOSED, LISTEN, ESTABLISHED = vocabulary.CLOSED, vocabulary.LISTEN, vocabulary.ESTABLISHED
local SYN_SENT, SYN_RECEIVED = vocabulary.SYN_SENT, vocabulary.SYN_RECEIVED
local SYN, SYN_ACK, PLAIN, FIN = vocabulary.SYN, vocabulary.SYN_ACK, vocabulary.PLAIN, vocabulary.FIN
local HANDSHAKE_ACK, NOTICEABLE = vocabulary.HANDSHAKE_ACK, vocabulary.NOTICEABLE
local distance, is_beyond, new_end, new_attempt = state.distance, state.is_beyond, state.new_end, state.new_attempt
local forget_fin, is_over, is_more, is_acceptable = state.forget_fin, state.is_over, state.is_more, state.is_acceptable
local is_idle, is_opening, end_name = state.is_idle, state.is_opening, state.end_name
local follow_syn, follow_ack = numbers.follow_syn, numbers.follow_ack
local add_role, add_anomaly, explain, answer = notes.add_role, notes.add_anomaly, notes.explain, notes.answer
local explain_ack, mismatch, reject = notes.explain_ack, notes.mismatch, notes.reject
local new_trace, note_invalid_answer = diagnosis.new_trace, diagnosis.note_invalid_answer
local note_repeated_syn, note_repeated_syn_ack = diagnosis.note_repeated_syn, diagnosis.note_repeated_syn_ack
local note_answer, revive = diagnosis.note_answer, diagnosis.revive

--- Explains the sequence number of a SYN or SYN-ACK.
-- @param verb what the segment does with it; "proposes" if nil
local function explain_isn(segment, verb)
    explain(segment, "%s the initial sequence number %.0f", verb or "proposes", segment.seq)
end

--- Returns the timestamp of a segment with SYN, or nil.
local function timestamp_of(segment)
    return segment.offer and segment.offer.tsval
end

--- Notes a transmission of a SYN for H10: its answer can echo the timestamp of any of the last ones.
-- @param repeated whether the SYN was sent before
local function note_transmission(sender, segment, repeated)
    if repeated then
        sender.syn_again = true
        local syns = sender.syns
        if not syns then
            syns = { { frame = sender.syn_frame, time = sender.syn_frame_time, timestamp = sender.syn_timestamp } }
            sender.syns = syns
        end
        syns[#syns + 1] = { frame = segment.frame, time = segment.time, timestamp = timestamp_of(segment) }
        if #syns > SYNS then
            remove(syns, 1)
        end
    end
    sender.syn_frame, sender.syn_frame_time = segment.frame, segment.time
    sender.syn_timestamp = timestamp_of(segment)
end

--- Notes the role SYN, step 1, and remembers the SYN as that of its sender (H3).
-- @param repeated true if the SYN was sent before; its time is that of the first transmission (H10)
local function remember_syn(connection, segment, repeated)
    local sender = connection[segment.sender]
    add_role(segment, SYN)
    segment.handshake_step = 1
    connection.attempt.syn_seen = true
    connection.attempt[segment.sender] = true
    follow_syn(sender, connection[segment.peer], segment.seq, segment.length)
    note_transmission(sender, segment, repeated)
    sender.isn, sender.syn_seen = segment.seq, true
    sender.syn_length = max(sender.syn_length, segment.length) -- X: the largest of all its transmissions
    if repeated then
        add_anomaly(segment, "syn-retransmission")
    else
        sender.syn_time = segment.time
    end
    explain_isn(segment, repeated and "repeats")
end

--- Forgets the former attempt and both ends, and begins another attempt (H2, H6).
local function begin_attempt(connection, segment)
    connection[segment.sender], connection[segment.peer] = new_end(CLOSED), new_end(LISTEN)
    connection.attempt, connection.trace, connection.talker = new_attempt(), new_trace(), nil
end

--- Returns whether a SYN is repeated (H3).
local function is_repeated_syn(connection, segment)
    local sender = connection[segment.sender]
    return sender.syn_seen and sender.isn == segment.seq and not (is_over(connection) and connection.attempt.opened)
end

--- Begins another attempt with a SYN (H2, H6).
local function judge_syn_of_new_attempt(connection, segment)
    local former, repeated = connection[segment.sender], is_repeated_syn(connection, segment)
    begin_attempt(connection, segment)
    local sender = connection[segment.sender]
    sender.phase = SYN_SENT
    if repeated then
        sender.syn_time, sender.syns = former.syn_time, former.syns
        sender.syn_frame, sender.syn_frame_time = former.syn_frame, former.syn_frame_time
        sender.syn_timestamp = former.syn_timestamp
    else
        add_anomaly(segment, "port-reuse")
    end
    remember_syn(connection, segment, repeated)
end

--- Returns whether a SYN was captured after what followed it (H4).
local function is_late_syn(sender, peer, segment)
    if sender.isn then
        return false
    end
    return peer.syn_ack_seen and distance(peer.syn_ack_number, segment.seq + 1) <= segment.length
        or sender.first_seq ~= nil and distance(sender.first_seq, segment.seq) == 1
end

--- Judges a SYN: by the first of H1 to H7 that fits.
local function judge_syn(connection, segment)
    local sender, peer = connection[segment.sender], connection[segment.peer]
    if not is_over(connection) then
        revive(connection, segment.sender)
    end
    if connection.fresh then -- H1
        sender.phase, peer.phase = SYN_SENT, LISTEN
        remember_syn(connection, segment, false)
    elseif is_over(connection) then -- H2
        judge_syn_of_new_attempt(connection, segment)
    elseif is_repeated_syn(connection, segment) then -- H3
        note_repeated_syn(connection, segment)
        peer.challenged = peer.challenged or sender.spoke
        if sender.phase == ESTABLISHED and not sender.syn_ack_seen and not sender.spoke then
            sender.phase = SYN_SENT
            connection.attempt.opened = false
            forget_fin(peer)
        end
        if peer.phase == CLOSED then
            peer.phase = LISTEN
        end
        revive(connection, segment.peer)
        remember_syn(connection, segment, true)
    elseif is_late_syn(sender, peer, segment) then -- H4
        remember_syn(connection, segment, false)
    elseif peer.phase == SYN_SENT and not sender.syn_seen and is_idle(sender) then -- H5
        remember_syn(connection, segment, false)
        sender.phase, peer.phase = SYN_RECEIVED, SYN_RECEIVED
        connection.attempt.simultaneous_open = true
        add_anomaly(segment, "simultaneous-open")
    elseif sender.phase == SYN_SENT and is_idle(peer) then -- H6
        judge_syn_of_new_attempt(connection, segment)
    elseif sender.syn_ack_seen and sender.isn == segment.seq then -- H7, its first row
        add_role(segment, SYN)
        segment.handshake_step = 1
        connection.attempt[segment.sender] = true
        peer.challenged = true
        explain(segment, "has the number of the %s's SYN-ACK, so that it is no restart", segment.sender_name)
        add_anomaly(segment, "syn-on-established")
    else -- H7
        connection[segment.sender] = new_end(SYN_SENT)
        connection.attempt, connection.trace, connection.talker = new_attempt(), new_trace(), nil
        forget_fin(peer)
        explain(segment, "comes on a live connection: the %s may have restarted", end_name(connection, segment.sender))
        remember_syn(connection, segment, false)
        add_anomaly(segment, "syn-on-established")
    end
end

--- Notes the role SYN-ACK, step 2.
local function note_syn_ack(connection, segment)
    add_role(segment, SYN_ACK)
    segment.handshake_step = 2
    connection.attempt.syn_ack_seen = true
    connection.attempt[segment.sender] = true
end

--- Remembers a SYN-ACK as that of its sender (H8).
-- @param awaiting true if it has not been acknowledged
local function remember_syn_ack(connection, segment, awaiting)
    local sender = connection[segment.sender]
    follow_syn(sender, connection[segment.peer], segment.seq, segment.length)
    if sender.isn ~= segment.seq then -- C24
        sender.answer_time, sender.answered_time = nil, nil
    end
    sender.isn, sender.syn_ack_seen = segment.seq, true
    sender.syn_ack_number = segment.ack
    sender.syn_ack_frame, sender.syn_ack_frame_time = segment.frame, segment.time
    sender.awaiting = awaiting
end

--- Notes that a SYN-ACK answers a SYN of the peer: the transmission whose timestamp it echoes, else the latest (H10).
local function answer_transmission(segment, peer)
    local echo = segment.offer and segment.offer.tsecr
    if peer.syns and echo then
        for index = #peer.syns, 1, -1 do
            local syn = peer.syns[index]
            if syn.timestamp == echo then
                answer(segment, syn.frame, syn.time, false)
                return
            end
        end
    end
    answer(segment, peer.syn_frame, peer.syn_frame_time, peer.syn_again)
end

--- Notes that a SYN-ACK, which is not mismatched, answers the peer's latest SYN if that was seen (H8).
local function answer_syn(connection, segment)
    local sender, peer = connection[segment.sender], connection[segment.peer]
    local acceptable = is_acceptable(peer, segment.ack, peer.syn_length)
    connection.attempt.syn_ack_matched = true
    if peer.syn_seen then
        answer_transmission(segment, peer)
        if sender.answer_time == nil then -- C24
            sender.answer_time, sender.answered_time = segment.time, segment.answered_time
        end
    end
    if not peer.isn then
        explain(segment, "acknowledges a SYN of the %s that was not captured", segment.peer_name)
    elseif acceptable then
        explain_ack(segment, peer, "SYN")
    end
    if acceptable then -- F2
        follow_ack(sender, peer, segment.ack, false)
    end
end

--- Judges a SYN-ACK that was sent before (H8.1).
local function judge_repeated_syn_ack(connection, segment)
    local sender, peer = connection[segment.sender], connection[segment.peer]
    note_syn_ack(connection, segment)
    add_anomaly(segment, "syn-ack-retransmission")
    sender.syn_ack_again = true
    if not is_acceptable(peer, segment.ack, peer.syn_length) then
        mismatch(segment, peer)
        return
    end
    note_repeated_syn_ack(connection, segment)
    peer.challenged = peer.challenged or sender.spoke
    remember_syn_ack(connection, segment, sender.awaiting or not sender.spoke)
    answer_syn(connection, segment)
    explain_isn(segment, "repeats")
    if is_idle(sender) or sender.phase == ESTABLISHED and not sender.spoke then
        sender.phase = SYN_RECEIVED
    end
    if is_opening(peer) then
        peer.phase, peer.awaiting = ESTABLISHED, false
    end
end

--- Notes and remembers a SYN-ACK that was not sent before and answers the peer's SYN (H1, H8.3, H8.4).
local function judge_answer(connection, segment, awaiting)
    note_syn_ack(connection, segment)
    connection[segment.sender].syn_ack_again = false
    remember_syn_ack(connection, segment, awaiting)
    answer_syn(connection, segment)
    note_answer(connection, segment)
    explain_isn(segment)
end

--- Judges the SYN-ACK that begins a connection or an attempt (H1, H2): its SYN is missing.
local function judge_first_syn_ack(connection, segment)
    connection[segment.sender].phase, connection[segment.peer].phase = SYN_RECEIVED, ESTABLISHED
    judge_answer(connection, segment, true)
end

--- Begins another attempt with a SYN-ACK (H2, X4).
local function judge_syn_ack_of_new_attempt(connection, segment)
    begin_attempt(connection, segment)
    add_anomaly(segment, "port-reuse")
    judge_first_syn_ack(connection, segment)
end

--- Judges a SYN-ACK on a connection that is not over: by H1, or by the first case of H8 that fits.
local function judge_syn_ack(connection, segment)
    local sender, peer = connection[segment.sender], connection[segment.peer]
    if connection.fresh then -- H1
        judge_first_syn_ack(connection, segment)
        return
    end
    local peer_opening = is_opening(peer)
    local acceptable = is_acceptable(peer, segment.ack, peer.syn_length)
    revive(connection, segment.sender)
    if sender.syn_ack_seen and sender.isn == segment.seq then -- H8.1
        judge_repeated_syn_ack(connection, segment)
    elseif peer_opening and not acceptable then -- H8.2
        note_syn_ack(connection, segment)
        reject(segment, peer)
        note_invalid_answer(connection, segment, false)
        if peer.phase == SYN_SENT then
            connection.attempt.invalid_answer = true
            sender.syn_ack_again = false
            remember_syn_ack(connection, segment, true)
            sender.phase = SYN_RECEIVED
        end
    elseif peer_opening then -- H8.3
        -- In a simultaneous open the peer can have acknowledged the sender's own SYN already.
        local acknowledged = sender.phase == ESTABLISHED and sender.isn == segment.seq
        judge_answer(connection, segment, not acknowledged)
        peer.phase, peer.awaiting = ESTABLISHED, false
        if not acknowledged then
            sender.phase = SYN_RECEIVED
        end
    elseif not sender.isn
        and (peer.isn and acceptable or sender.first_seq and distance(sender.first_seq, segment.seq) == 1) then
        judge_answer(connection, segment, not peer.spoke) -- H8.4
    elseif sender.phase == SYN_SENT and sender.isn == segment.seq then -- H8.4: the answer to a SYN not captured
        judge_answer(connection, segment, true)
        sender.phase = SYN_RECEIVED
        if is_idle(peer) then
            peer.phase = SYN_RECEIVED
        end
        connection.attempt.simultaneous_open = true
    else -- H8.5
        peer.challenged = true
        add_anomaly(segment, "syn-on-established")
        explain(segment, "comes on a live connection and has no effect: the %s awaits no SYN-ACK", segment.peer_name)
        explain_isn(segment)
    end
end

--- Returns whether the sender of a third step repeated its SYN in spite of the SYN-ACK of its peer (H10).
local function has_asked_again(segment, sender, peer)
    return sender.syn_frame and sender.syn_frame > peer.syn_ack_frame
        and is_more(segment, sender.syn_frame_time, peer.syn_ack_frame_time, NOTICEABLE)
end

--- Returns the part of the handshake time that went by in waiting for a repeated SYN or SYN-ACK (C24), or nil.
-- @param sender of the third step
local function retransmission_delay(segment, sender, peer)
    local before = segment.subtract(peer.answered_time or sender.syn_frame_time, sender.syn_time)
    if before == nil or peer.answer_time == nil then
        return before
    end
    local latest = has_asked_again(segment, sender, peer) and sender.syn_frame_time or peer.syn_ack_frame_time
    local after = segment.subtract(latest, peer.answer_time)
    return after and before + after
end

--- Notes the role HANDSHAKE-ACK, step 3 (H9.2, H9.4), with the handshake time (H10). A SYN-ACK that is repeated can get
-- one several times (H11).
local function note_handshake_ack(connection, segment)
    local sender = connection[segment.sender]
    add_role(segment, HANDSHAKE_ACK)
    segment.handshake_step = 3
    connection.attempt.third_step_seen, connection.trace.third_step_time = true, segment.time
    if sender.syn_seen then
        segment.handshake_time = segment.subtract(segment.time, sender.syn_time)
        if segment.explanations then
            segment.retransmission_delay = retransmission_delay(segment, sender, connection[segment.peer])
        end
    end
end

--- Returns whether a segment shows that its sender's SYN was acknowledged (H9.5).
local function shows_acknowledged_syn(sender, peer, segment)
    if segment.kind == FIN or sender.syn_ack_seen and is_beyond(segment.ack, sender.syn_ack_number)
        or sender.syn_seen and not peer.isn then
        return true
    end
    -- RFC 7413: a server that took data from the SYN may send at once.
    local took_data = sender.syn_ack_seen and peer.isn ~= nil
        and distance(sender.syn_ack_number, peer.isn + 1) ~= 0
    return segment.length > 0 and not took_data
end

--- Judges a segment whose acknowledgement number the peer's SYN rules out (H9.1): its sender holds an old connection.
local function judge_invalid_answer(connection, segment)
    local peer = connection[segment.peer]
    local is_challenge = segment.kind == PLAIN and segment.length == 0
    connection.attempt.invalid_answer = true
    note_invalid_answer(connection, segment, true)
    if is_challenge then
        add_anomaly(segment, "challenge-ack")
        peer.rejected = segment.ack
        explain(segment, "acknowledges %.0f, which is none of the %s's new connection: this end holds an older one",
            segment.ack, segment.peer_name)
    else
        reject(segment, peer)
    end
end

--- Judges the step H9.2: the peer's SYN or SYN-ACK is not acknowledged yet.
-- @return stopped, third_step: whether the segment is stopped, and whether it is a HANDSHAKE-ACK
local function judge_third_step(connection, segment, acceptable)
    local sender, peer = connection[segment.sender], connection[segment.peer]
    local is_far = sender.isn ~= nil and not sender.spoke and distance(segment.seq, sender.isn + 1) > FIRST_WINDOW
    if is_far and peer.phase == SYN_RECEIVED then
        peer.challenged = true
        add_anomaly(segment, "seq-mismatch")
        explain(segment, "has sequence number %.0f, far from %.0f = %.0f + 1, which follows its own SYN", segment.seq,
            (sender.isn + 1) % MODULUS, sender.isn)
        return true, false
    elseif is_far and peer.awaiting and acceptable then -- the third step is missing from the capture
        peer.awaiting = false
    elseif peer.awaiting and acceptable then
        note_handshake_ack(connection, segment)
        answer(segment, peer.syn_ack_frame, peer.syn_ack_frame_time,
            peer.syn_ack_again or has_asked_again(segment, sender, peer))
        explain_ack(segment, peer, "SYN-ACK")
        if peer.phase == SYN_RECEIVED then
            peer.phase = ESTABLISHED
        end
        peer.awaiting = false
        return false, true
    elseif peer.phase == SYN_RECEIVED then -- H9.2, H9.3
        if not acceptable then
            reject(segment, peer)
            note_invalid_answer(connection, segment, false)
            return true, false
        end
        peer.phase = ESTABLISHED
        explain_ack(segment, peer, "SYN")
    end
    return false, false
end

--- Judges a plain or FIN segment while the connection is opening: by all of H9.1 to H9.6, in this order.
-- @return true if the segment is stopped: nothing further of it counts
local function judge_opening(connection, segment)
    local sender, peer = connection[segment.sender], connection[segment.peer]
    local acceptable = is_acceptable(peer, segment.ack, FIRST_WINDOW)
    if peer.phase == SYN_SENT then -- H9.1
        if is_idle(sender) then
            sender.phase = ESTABLISHED
        end
        if not acceptable or is_beyond(segment.ack, peer.next_sent) then
            judge_invalid_answer(connection, segment)
            return true
        end
        peer.phase = ESTABLISHED
    end
    local third_step = false
    if peer.awaiting or peer.phase == SYN_RECEIVED then -- H9.2, H9.3
        local stopped
        stopped, third_step = judge_third_step(connection, segment, acceptable)
        if stopped then
            return true
        end
    end
    if sender.phase == SYN_SENT then -- H9.4
        sender.phase = ESTABLISHED
        if is_idle(peer) then
            peer.phase = ESTABLISHED
        end
        if not third_step and not peer.syn_ack_seen
            and distance(segment.seq, sender.isn + 1) <= sender.syn_length then
            note_handshake_ack(connection, segment)
            explain(segment, "acknowledges a SYN-ACK of the %s that was not captured", segment.peer_name)
        end
    end
    if sender.phase == SYN_RECEIVED and shows_acknowledged_syn(sender, peer, segment) then -- H9.5
        sender.phase = ESTABLISHED
    end
    if is_idle(sender) and not sender.fin_seq then -- H9.6
        sender.phase = ESTABLISHED
    end
    return false
end

return {
    judge_syn = judge_syn, judge_syn_ack = judge_syn_ack, judge_syn_ack_of_new_attempt = judge_syn_ack_of_new_attempt,
    judge_opening = judge_opening,
}
