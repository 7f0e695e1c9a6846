-- T. Closing: how acknowledgements of a FIN, payload and FINs change the record.
--
-- T applies to plain and FIN segments that R6, F5, H9 and X4 have let through, in the order T7, F1 and F2 with F4, T4,
-- T6, T5, T8. A FIN occupies the sequence number after its payload (T5).
--
-- SPDX-License-Identifier: GPL-2.0-or-later

local vocabulary, state, numbers = require("vocabulary"), require("state"), require("numbers")
local notes, diagnosis = require("notes"), require("diagnosis")

local format = string.format
local MODULUS, FIN, ACK_OF_FIN = vocabulary.MODULUS, vocabulary.FIN, vocabulary.ACK_OF_FIN
local distance, is_at_or_after, is_beyond = state.distance, state.is_at_or_after, state.is_beyond
local forget_fin = state.forget_fin
local fin_counts, fin_arrived, is_passive = state.fin_counts, state.fin_arrived, state.is_passive
local is_simultaneous = state.is_simultaneous
local is_new, follow_sent, follow_ack = numbers.is_new, numbers.follow_sent, numbers.follow_ack
local add_role, add_teardown_step, add_anomaly = notes.add_role, notes.add_teardown_step, notes.add_anomaly
local answer, explain, note_transfer = notes.answer, notes.explain, diagnosis.note_transfer
local note_acknowledged_fin = diagnosis.note_acknowledged_fin

--- Notes that a FIN of this end occupies a number and carries an acknowledgement number.
-- @param segment that shows it
-- @param peer_sent how far the peer had sent, or nil
local function remember_fin(this_end, segment, fin_seq, fin_ack, peer_sent)
    forget_fin(this_end)
    this_end.fin_peer_sent = peer_sent
    this_end.fin_seq, this_end.fin_ack, this_end.fin_length = fin_seq, fin_ack, 0
    this_end.fin_frame_time, this_end.fin_first_time = segment.time, segment.time
end

--- Anticipates the FIN of the peer that a FIN acknowledges (T7): it is captured later, or not at all.
local function anticipate_fin(sender, peer, segment)
    if not peer.fin_seq and not peer.heard and peer.next_sent and distance(segment.ack, peer.next_sent) == 1 then
        remember_fin(peer, segment, peer.next_sent, segment.seq, sender.next_sent)
        peer.next_sent, peer.in_order, peer.gap = segment.ack, segment.ack, nil
    end
end

--- Judges whether a segment acknowledges the peer's FIN (T4).
local function judge_ack_of_fin(connection, segment)
    local sender, peer = connection[segment.sender], connection[segment.peer]
    if not peer.fin_seq or not sender.acknowledged then
        return
    end
    local expected = (peer.fin_seq + 1) % MODULUS
    if not (is_at_or_after(segment.ack, expected) and is_at_or_after(sender.acknowledged, expected))
        or not fin_counts(peer, sender)
    then
        return
    end
    if not peer.fin_acked then
        add_role(segment, ACK_OF_FIN)
        note_acknowledged_fin(connection, segment)
        add_teardown_step(segment, is_passive(peer, sender) and 4 or 2)
        if not segment.responds_to then
            answer(segment, peer.fin_frame, peer.fin_frame_time, peer.fin_again)
        end
        if segment.explanations then
            local data = peer.fin_length > 0 and format(" + %.0f", peer.fin_length) or ""
            local beyond = segment.ack ~= expected and format("%.0f is after ", segment.ack) or ""
            explain(segment, "acknowledges the %s's FIN: %s%.0f = %.0f%s + 1", segment.peer_name, beyond, expected,
                distance(peer.fin_seq, peer.fin_length), data)
        end
    end
    peer.fin_acked, peer.fin_was_acked, peer.fin_missed = true, true, nil
end

--- Returns whether payload of the sender goes to a peer that has closed its own direction (T6).
local function is_half_closed(sender, peer)
    return not sender.fin_seq and peer.fin_acked == true and fin_arrived(peer, sender)
end

--- Judges new payload (T6).
-- @param counted whether the sender's FIN counted before the segment
local function judge_data(connection, segment, counted)
    local sender, peer = connection[segment.sender], connection[segment.peer]
    if sender.fin_seq and not counted and segment.kind ~= FIN then
        forget_fin(sender)
    end
    if is_half_closed(sender, peer) then
        add_anomaly(segment, "half-close-data")
    end
    if counted and is_beyond((segment.seq + segment.length) % MODULUS, sender.fin_seq) then
        add_anomaly(segment, "data-after-fin")
    end
end

--- Notes that the acknowledgement of the sender's FIN was captured before it (T5).
local function note_early_ack_of_fin(sender, peer)
    if peer.acknowledged and is_at_or_after(peer.acknowledged, sender.fin_seq + 1) then
        sender.fin_acked, sender.fin_was_acked = true, true
    end
end

--- Returns whether a FIN is too old to be accepted (T5), and notes which number shows it.
local function is_too_old(peer, segment, fin_seq)
    if peer.acknowledged and is_beyond(peer.acknowledged, fin_seq + 1) then
        add_anomaly(segment, "seq-mismatch")
        explain(segment, "does not close its direction: the %s has acknowledged up to %.0f already", segment.peer_name,
            peer.acknowledged)
        return true
    elseif peer.isn and not is_beyond(segment.ack, peer.isn) then
        add_anomaly(segment, "ack-mismatch")
        explain(segment, "does not close its direction: it acknowledges %.0f, which is older than the connection",
            segment.ack)
        return true
    end
    return false
end

--- Judges another FIN of the sender (T5, third row).
local function judge_another_fin(connection, segment, fin_seq)
    local sender, peer = connection[segment.sender], connection[segment.peer]
    if fin_seq == sender.fin_seq then
        add_anomaly(segment, "fin-retransmission")
        sender.fin_again = true
    end
    sender.fin_seq, sender.fin_missed = fin_seq, nil
    sender.fin_frame, sender.fin_frame_time = segment.frame, segment.time
    if peer.fin_acked and is_passive(peer, sender) and not is_passive(sender, peer) then
        return -- an old duplicate
    end
    sender.fin_acked = nil
    if peer.fin_seq and not peer.fin_acked and is_beyond(peer.fin_seq + 1, segment.ack) then
        peer.fin_missed = true
    end
end

--- Judges a FIN (T5).
-- @param acked_before the sender's `acknowledged` before the segment
local function judge_fin(connection, segment, acked_before)
    local sender, peer = connection[segment.sender], connection[segment.peer]
    local fin_seq = (segment.seq + segment.length) % MODULUS
    local again = false
    if not fin_counts(sender, peer) then
        if is_too_old(peer, segment, fin_seq) then
            peer.challenged = true
            return
        end
        remember_fin(sender, segment, fin_seq, segment.ack, peer.next_sent)
        sender.fin_acked_before, sender.fin_frame = acked_before, segment.frame
        if not fin_counts(sender, peer) then
            add_anomaly(segment, "ack-beyond-sent")
            peer.challenged = true
            explain(segment, "does not close its direction yet: it acknowledges %.0f, but the %s was seen to send up "
                .. "to %.0f only", segment.ack, segment.peer_name, peer.next_sent)
            return
        end
        note_early_ack_of_fin(sender, peer)
        if is_simultaneous(connection) then
            add_anomaly(segment, "simultaneous-close")
        end
    elseif not sender.fin_frame and sender.fin_seq == fin_seq then -- anticipated (T7)
        sender.fin_frame, sender.fin_frame_time, sender.fin_first_time = segment.frame, segment.time, segment.time
        note_early_ack_of_fin(sender, peer)
    else
        again = true
        judge_another_fin(connection, segment, fin_seq)
    end
    sender.fin_length = segment.length
    add_role(segment, FIN)
    add_teardown_step(segment, is_passive(sender, peer) and 3 or 1)
    if segment.explanations then
        local verb = again and "closes its direction again" or "closes its direction"
        local sum = segment.length > 0 and format(" = %.0f + %.0f", segment.seq, segment.length) or ""
        explain(segment, "%s: the FIN occupies sequence number %.0f%s", verb, fin_seq, sum)
    end
end

--- Returns the earlier of two times; the one that there is if the other is nil.
local function earlier(one, two)
    if one ~= nil and two ~= nil then
        return two < one and two or one
    elseif one ~= nil then
        return one
    end
    return two
end

--- Notes a complete close (T8).
-- @param acknowledges whether the segment is an ACK-OF-FIN
local function judge_complete_close(connection, segment, acknowledges)
    local one, two, attempt = connection[1], connection[2], connection.attempt
    if one.fin_was_acked and two.fin_was_acked and (acknowledges or not attempt.close_complete)
        and state.both_closed(connection) then
        attempt.close_complete = true
        segment.teardown_time = segment.subtract(segment.time, earlier(one.fin_first_time, two.fin_first_time))
    end
end

--- Judges a plain or FIN segment (T).
local function judge_closing(connection, segment)
    local sender, peer = connection[segment.sender], connection[segment.peer]
    local counted, acked_before = fin_counts(sender, peer), sender.acknowledged
    local is_fin, stop = segment.kind == FIN, segment.seq + segment.length
    if is_fin then
        stop = stop + 1
        anticipate_fin(sender, peer, segment)
    end
    note_transfer(connection, segment, stop % MODULUS)
    local new_data = segment.length > 0 and is_new(sender, segment.seq, (segment.seq + segment.length) % MODULUS)
    local new = follow_sent(sender, peer, segment.seq, stop % MODULUS)
    follow_ack(sender, peer, segment.ack, new)
    sender.spoke = true
    judge_ack_of_fin(connection, segment)
    local acknowledges = segment.teardown_step ~= nil
    if new_data then
        judge_data(connection, segment, counted)
    end
    if is_fin then
        judge_fin(connection, segment, acked_before)
    end
    judge_complete_close(connection, segment, acknowledges)
end

return { judge_closing = judge_closing, is_half_closed = is_half_closed }
