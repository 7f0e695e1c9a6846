-- R. Aborting: how an RST changes the record, and which segments show that an end lives on after one.
--
-- SPDX-License-Identifier: GPL-2.0-or-later

local vocabulary, state, numbers = require("vocabulary"), require("state"), require("numbers")
local notes, diagnosis = require("notes"), require("diagnosis")

local max = math.max
local MODULUS, LARGEST_WINDOW = vocabulary.MODULUS, vocabulary.LARGEST_WINDOW
local MOMENT, OUTLIVED = vocabulary.MOMENT, vocabulary.OUTLIVED
local CLOSED, LISTEN, ESTABLISHED = vocabulary.CLOSED, vocabulary.LISTEN, vocabulary.ESTABLISHED
local FIN, RST = vocabulary.FIN, vocabulary.RST
local SYN_SENT, SYN_RECEIVED = vocabulary.SYN_SENT, vocabulary.SYN_RECEIVED
local distance, is_beyond, is_over, is_acceptable = state.distance, state.is_beyond, state.is_over, state.is_acceptable
local is_idle, fin_counts, is_passive_opener = state.is_idle, state.fin_counts, state.is_passive_opener
local derive_states = state.derive_states
local is_new, follow_sent, follow_ack = numbers.is_new, numbers.follow_sent, numbers.follow_ack
local skip_missing = numbers.skip_missing
local add_role, add_anomaly, answer, explain = notes.add_role, notes.add_anomaly, notes.answer, notes.explain
local mismatch, sum_of_syn = notes.mismatch, notes.sum_of_syn
local note_rst, forget_reset, note_missing = diagnosis.note_rst, diagnosis.forget_reset, diagnosis.note_missing
local note_invalid_answer, note_wild_rst = diagnosis.note_invalid_answer, diagnosis.note_wild_rst
local note_life, revive, note_fin_in_flight = diagnosis.note_life, diagnosis.revive, diagnosis.note_fin_in_flight

--- Notes that the attempt was aborted unless it was opened before (R2, R5).
local function note_abort(connection, segment)
    if not connection.attempt.opened then
        connection.attempt.aborted = true
        add_anomaly(segment, "handshake-aborted")
    end
end

--- Judges an RST that rejects an acknowledgement number (R2).
local function judge_rejection(connection, segment)
    local sender, peer, attempt = connection[segment.sender], connection[segment.peer], connection.attempt
    if sender.phase == SYN_SENT then
        peer.phase = (peer.phase == LISTEN or is_passive_opener(peer)) and LISTEN or CLOSED
    else
        peer.was_reset, segment.rejects = true, true
        note_abort(connection, segment)
        attempt.reset_by = attempt.reset_by or segment.sender
    end
    explain(segment, "rejects the acknowledgement number %.0f, which its sequence number repeats", segment.seq)
end

--- Judges an RST that answers the peer's SYN (R3): it refuses the SYN, or the peer ignores it.
local function judge_answer_to_syn(connection, segment)
    local sender, peer = connection[segment.sender], connection[segment.peer]
    sender.gone = true
    if segment.flags % 32 < 16 then -- the ACK flag is not set
        connection.attempt.invalid_answer = true
        note_invalid_answer(connection, segment, false)
        add_anomaly(segment, "rst-ignored")
        explain(segment, "acknowledges nothing, so that the %s ignores it", segment.peer_name)
    elseif is_acceptable(peer, segment.ack, peer.syn_length) then
        peer.was_reset = true
        connection.attempt.refused = true
        follow_ack(sender, peer, segment.ack, false)
        add_anomaly(segment, "connection-refused")
        answer(segment, peer.syn_frame, peer.syn_frame_time, peer.syn_again)
        explain(segment, "refuses the %s's SYN: %s", segment.peer_name, sum_of_syn(segment.ack, peer.isn))
    else
        connection.attempt.invalid_answer = true
        note_invalid_answer(connection, segment, false)
        mismatch(segment, peer)
    end
end

--- Judges an RST of the end that has sent the SYN (R4): it gives up.
local function judge_giving_up(connection, segment)
    connection[segment.sender].gone = true
    if segment.flags % 32 >= 16 and segment.ack ~= 0 then
        connection.attempt.aborted = true
        add_anomaly(segment, "handshake-aborted")
        explain(segment, "aborts the handshake: it acknowledges a SYN-ACK of the %s that was not captured",
            segment.peer_name)
    else
        explain(segment, "gives up the attempt")
    end
end

--- Judges an RST by its number (R5).
local function judge_by_number(connection, segment)
    local sender, peer = connection[segment.sender], connection[segment.peer]
    local opened = connection.attempt.opened
    local expected = sender.fin_missed and fin_counts(sender, peer) and sender.fin_seq or sender.in_order
    local is_expected = segment.seq == expected or segment.seq == peer.early_ack
    if peer.gone or peer.was_reset or peer.state == CLOSED or peer.state == LISTEN then
        sender.gone = true
        peer.was_reset = peer.was_reset or peer.gone and is_expected -- which counts if the peer turns out to live (R6)
        explain(segment, "resets a connection that the %s does not hold", segment.peer_name)
    elseif not expected or is_expected then
        sender.gone, peer.was_reset = true, true
        if not connection.attempt.refused then
            note_abort(connection, segment)
        end
        explain(segment, opened and "resets the connection" or "aborts the handshake before both ends were established")
    else
        add_anomaly(segment, "rst-ignored")
        if is_beyond(segment.seq, sender.next_sent) then
            if not peer.early_ack or is_beyond(segment.seq, peer.early_ack) then
                note_wild_rst(connection, segment)
            end
            if distance(segment.seq, sender.next_sent) < LARGEST_WINDOW then
                peer.challenged = true
            end
        elseif sender.first_seq and is_beyond(sender.first_seq, segment.seq) then
            if sender.isn then
                note_wild_rst(connection, segment)
            end
        else
            sender.gone = true
            if is_beyond(segment.seq, expected) then
                peer.challenged = true
            end
        end
        explain(segment, "has sequence number %.0f where the %s expects %.0f, so that the %s ignores it", segment.seq,
            segment.peer_name, expected, segment.peer_name)
    end
end

--- Returns whether an RST rejects a third step, which acknowledged more than the sender of its SYN-ACK had sent (R2).
local function rejects_third_step(sender, peer, segment)
    return segment.flags % 32 < 16 and sender.syn_ack_seen and not sender.spoke and segment.seq == peer.early_ack
        and not (peer.acknowledged and is_beyond(peer.acknowledged, sender.isn))
end

--- Judges an RST: by the first of R1 to R5 that fits.
local function judge_rst(connection, segment)
    local sender, peer, attempt = connection[segment.sender], connection[segment.peer], connection.attempt
    local was_over, reset_before, was_fresh = is_over(connection), attempt.reset_by ~= nil, connection.fresh
    local was_gone = sender.gone
    add_role(segment, RST)
    if not connection.fresh and not was_over and segment.flags % 32 >= 16
        and skip_missing(sender, peer, segment.seq, segment.ack, false) then -- F6
        segment.skips = true
        note_missing(connection)
        explain(segment, "comes after segments of both ends that were not captured")
        derive_states(connection)
    end
    attempt.rst_time, sender.rst_next_sent = segment.time, sender.next_sent
    if fin_counts(sender, peer) or fin_counts(peer, sender) then
        add_anomaly(segment, "rst-after-fin")
    end
    if connection.fresh then -- R1
        sender.phase, peer.phase = ESTABLISHED, ESTABLISHED
        sender.gone, peer.was_reset = true, true
        explain(segment, "resets a connection of which nothing else was captured before")
    elseif (sender.phase == SYN_SENT or sender.phase == SYN_RECEIVED) and sender.rejected == segment.seq then
        judge_rejection(connection, segment) -- R2
    elseif rejects_third_step(sender, peer, segment) then -- R2
        sender.phase, attempt.opened = SYN_RECEIVED, false
        judge_rejection(connection, segment)
    elseif peer.phase == SYN_SENT and not peer.gone and not peer.was_reset then -- R3
        judge_answer_to_syn(connection, segment)
    elseif sender.phase == SYN_SENT and is_idle(peer) then -- R4
        judge_giving_up(connection, segment)
    else -- R5
        judge_by_number(connection, segment)
    end
    connection.fresh = false
    derive_states(connection)
    if not was_over and is_over(connection) then
        attempt.reset_by = attempt.reset_by or segment.sender
    end
    note_rst(connection, segment, reset_before, was_fresh, was_gone)
end

--- Notes that the attempt was not reset if the connection turns out not to be over (R6, X4).
local function take_back_reset(connection)
    derive_states(connection)
    local attempt = connection.attempt
    if attempt.reset_by and not is_over(connection) then
        forget_reset(connection, attempt.reset_by)
        attempt.reset_by = nil
    end
end

--- Returns whether a segment was captured more than some nanoseconds after the latest RST (R6).
local function is_after_rst(connection, segment, least)
    local elapsed = segment.subtract(segment.time, connection.attempt.rst_time)
    return elapsed ~= nil and segment.nanoseconds(elapsed) > least
end

--- Returns whether a segment comes long after the latest RST (R6): what was in flight takes at most a round trip.
local function is_late(connection, segment)
    local handshake_time = connection.handshake_time
    return is_after_rst(connection, segment,
        handshake_time and max(MOMENT, segment.nanoseconds(handshake_time)) or MOMENT)
end

--- Returns whether a segment acknowledges what the peer of its sender sent after its RST (R6).
local function acknowledges_later(peer, ack)
    local before = peer.rst_next_sent or peer.first_seq
    return before ~= nil and is_beyond(ack, before) and not is_beyond(ack, peer.next_sent)
end

--- Returns whether a segment shows that its sender, which was not reset, did not send the RST itself (R6).
-- @param new, repeated whether the segment is new (F1), whether it repeats something late
local function disowns_rst(connection, segment, new, repeated)
    local sender, peer = connection[segment.sender], connection[segment.peer]
    local can_be_overtaken = peer.was_reset and segment.kind == FIN and segment.length == 0
    if repeated or new and not (can_be_overtaken and not is_after_rst(connection, segment, MOMENT)) then
        return true
    elseif sender.acknowledged then
        return is_beyond(segment.ack, sender.acknowledged)
    end
    return not peer.was_reset
end

--- Judges a segment of an end that has sent or accepted an RST (R6).
-- @return true if the segment shows that the end lives, so that it is to be judged
local function judge_life(connection, segment)
    local sender, peer, attempt = connection[segment.sender], connection[segment.peer], connection.attempt
    local fin_or_syn = (segment.kind == FIN or segment.kind == vocabulary.SYN_ACK) and 1 or 0
    local stop = (segment.seq + segment.length + fin_or_syn) % MODULUS
    local new = is_new(sender, segment.seq, stop)
    local repeated = not new and stop ~= segment.seq and is_late(connection, segment)
    if not sender.was_reset and disowns_rst(connection, segment, new, repeated) then
        revive(connection, segment.sender)
        explain(segment, "shows that its sender did not send the reset")
    elseif sender.was_reset and (repeated or acknowledges_later(peer, segment.ack)
        or new and (is_after_rst(connection, segment, OUTLIVED) or not peer.gone and is_late(connection, segment))) then
        revive(connection, segment.sender)
        sender.was_reset = false
        attempt.aborted, attempt.refused = false, false
        explain(segment, "shows that the reset did not arrive")
    else
        segment.judged, segment.in_flight = false, true
        if segment.kind == FIN then
            note_fin_in_flight(connection, segment)
        end
        if new then
            note_life(connection, segment)
            follow_sent(sender, peer, segment.seq, stop)
        end
        return false
    end
    take_back_reset(connection)
    return true
end

return { judge_rst = judge_rst, judge_life = judge_life, take_back_reset = take_back_reset }
