-- What is remembered of a connection (X): of each of its two ends, and of the latest attempt to open it.
--
-- How the state machine works. It has no clock, does no input or output, and uses nothing of Wireshark.
--
-- * A connection is one tcp.stream. connection[1] and connection[2] are its ends: 1 sent the first segment, 2 is the
--   other (G5). connection.client is the index of the end that is taken for the client: a guess until E1 settles it.
-- * Of each end the record has how far its opening is (phase), the numbers that it has sent and acknowledged (F), its
--   FIN, and whether an RST has ended it. Its state by RFC 9293 follows from these alone (X6): derive_states works it
--   out after each segment and keeps it as `state` until the next one.
-- * connection.attempt holds what is known of the latest attempt. A SYN on a connection that is over begins another.
-- * The tracker (annotator) puts the next segment of the capture into one table, judge() calls the rules of its kind in
--   opening, closing or aborting, and these change the record and note role, steps and anomalies in that table.
-- * Awkward: a capture can begin midway, lose segments and hold them in the wrong order. So each rule asks what was
--   seen (isn, syn_seen, syn_ack_seen, fin_seq), and some states follow from what an end could not have sent otherwise.
-- * Most segments of a capture move numbers and nothing else. While a connection is quiet, follow (annotator) does
--   that, and the rules never get them. Of most connections the rules get no segment at all unless somebody looks:
--   usual.lua knows which roles they would give. If you make a rule depend on something new, see that note_quiet and
--   marks_of in annotations.lua and step in usual.lua know of it.
--
-- SPDX-License-Identifier: GPL-2.0-or-later

local vocabulary = require("vocabulary")

local MODULUS, HALF = vocabulary.MODULUS, vocabulary.HALF
local IS_OVER, IS_OPENED = vocabulary.IS_OVER, vocabulary.IS_OPENED
local CLOSED, LISTEN = vocabulary.CLOSED, vocabulary.LISTEN
local SYN_SENT, SYN_RECEIVED = vocabulary.SYN_SENT, vocabulary.SYN_RECEIVED
local FIN_WAIT_1, FIN_WAIT_2, CLOSE_WAIT = vocabulary.FIN_WAIT_1, vocabulary.FIN_WAIT_2, vocabulary.CLOSE_WAIT
local CLOSING, LAST_ACK, TIME_WAIT = vocabulary.CLOSING, vocabulary.LAST_ACK, vocabulary.TIME_WAIT

--- Returns how far one number is after another, modulo 2^32.
-- @param a, b sequence or acknowledgement numbers
local function distance(a, b)
    return (a - b) % MODULUS
end

--- Returns whether one number is at or after another.
local function is_at_or_after(a, b)
    return (a - b) % MODULUS < HALF
end

--- Returns whether one number is beyond another.
local function is_beyond(a, b)
    return (b - a) % MODULUS > HALF
end

--- Returns the record of an end (X) that has sent nothing yet. Names with nil only reserve their room in the table.
-- @param phase how far its opening is
local function new_end(phase)
    return {
        phase = phase, state = phase, spoke = false, awaiting = false, heard = false, challenged = false,
        gone = false, was_reset = false, syn_seen = false, syn_ack_seen = false, syn_length = 0,
        is_known = false, noted_ack = false, noted_payload = false, -- note_quiet (annotations)
        isn = nil, first_seq = nil, next_sent = nil, in_order = nil, gap = nil, acknowledged = nil, early_ack = nil,
        syn_time = nil, syn_frame = nil, syn_frame_time = nil,
        syn_ack_number = nil, syn_ack_frame = nil, syn_ack_frame_time = nil,
        -- H10: syn_again, syn_ack_again and fin_again are true if it was sent more than once; syn_timestamp is that of
        -- the latest SYN, syns the list of the last SYNs if there were several
        -- C24: answer_time, answered_time: of the first SYN-ACK with this isn that answers a SYN, and of that SYN
        -- rejected, rst_next_sent, fin_seq, fin_ack, fin_acked_before, fin_peer_sent,
        -- fin_length, fin_frame, fin_frame_time, fin_first_time,
        -- fin_acked, fin_was_acked, fin_missed
    }
end

--- Returns the record of an attempt (X) before its first segment.
local function new_attempt()
    return {
        false, false, -- Z2, by index of the end: was a SYN or SYN-ACK of this end seen?
        false, false, -- Z2, by that index + 2: how Zeek takes this end to have ended (connection_row)
        syn_seen = false, syn_ack_seen = false, syn_ack_matched = false, third_step_seen = false, opened = false,
        close_complete = false,
        -- simultaneous_open, invalid_answer, reset_by, rst_time, refused, aborted, unreachable
    }
end

--- Forgets the FIN of an end (F1, H7, T6).
local function forget_fin(this_end)
    this_end.fin_seq, this_end.fin_ack, this_end.fin_acked_before, this_end.fin_length = nil, nil, nil, nil
    this_end.fin_peer_sent = nil
    this_end.fin_frame, this_end.fin_frame_time, this_end.fin_first_time = nil, nil, nil
    this_end.fin_acked, this_end.fin_was_acked, this_end.fin_missed, this_end.fin_again = nil, nil, nil, nil
end

--- Returns whether the FIN of an end counts (T1).
local function fin_counts(this_end, peer)
    return this_end.fin_seq ~= nil
        and (this_end.fin_acked or not is_beyond(this_end.fin_ack, peer.next_sent or this_end.fin_ack))
end

--- Returns whether the FIN of an end has arrived at its peer (T2).
local function fin_arrived(this_end, peer)
    return this_end.fin_seq ~= nil and not this_end.fin_missed
        and (this_end.fin_acked
            or fin_counts(this_end, peer) and is_at_or_after(this_end.in_order, this_end.fin_seq + 1))
end

--- Returns whether an end is passive (T3): it sent its FIN after it had heard of that of its peer.
local function is_passive(this_end, peer)
    return fin_counts(this_end, peer) and fin_counts(peer, this_end)
        and is_at_or_after(this_end.fin_ack, peer.fin_seq + 1)
end

--- Returns whether the FINs of both ends count (T1).
local function both_closed(connection)
    local one, two = connection[1], connection[2]
    return fin_counts(one, two) and fin_counts(two, one)
end

--- Returns whether the close is simultaneous (T3).
local function is_simultaneous(connection)
    local one, two = connection[1], connection[2]
    return both_closed(connection) and not is_passive(one, two) and not is_passive(two, one)
end

--- Returns whether an end has sent more since the FIN of its peer was first captured (D5, D8).
-- @param closer the end that sent the FIN
local function went_on(this_end, closer)
    local then_sent = closer.fin_peer_sent
    return this_end.next_sent ~= nil and then_sent ~= nil and is_beyond(this_end.next_sent, then_sent)
end

--- Returns whether an end is a passive opener (X5): it has sent a SYN-ACK and no SYN.
local function is_passive_opener(this_end)
    return this_end.syn_ack_seen and not this_end.syn_seen
end

--- Returns the state of an end: the first row of X6 that fits.
local function state_of(this_end, peer, attempt)
    local phase = this_end.phase
    if this_end.gone or this_end.was_reset then
        if this_end.was_reset and not this_end.gone and not attempt.opened and is_passive_opener(this_end) then
            return LISTEN
        end
        return CLOSED
    elseif phase == CLOSED or phase == LISTEN or phase == SYN_SENT then
        return phase
    elseif not this_end.fin_seq and not peer.fin_seq then -- neither FIN can count or arrive
        return phase
    elseif not fin_counts(this_end, peer) then
        return fin_arrived(peer, this_end) and CLOSE_WAIT or phase
    end
    local heard_fin = fin_arrived(peer, this_end)
    if this_end.fin_acked then
        if not heard_fin then
            return FIN_WAIT_2
        end
        return is_passive(this_end, peer) and CLOSED or TIME_WAIT
    elseif heard_fin then
        return is_passive(this_end, peer) and LAST_ACK or CLOSING
    end
    return FIN_WAIT_1
end

--- Derives the states of both ends from the record (X6), and whether the attempt is opened (X3).
local function derive_states(connection)
    local one, two, attempt = connection[1], connection[2], connection.attempt
    one.state, two.state = state_of(one, two, attempt), state_of(two, one, attempt)
    if not attempt.opened and IS_OPENED[one.state] and IS_OPENED[two.state] then
        attempt.opened = true
        connection.former_1, connection.former_2 = nil, nil -- X7: until the connection is opened
    end
end

--- Returns whether a connection is over, by the states that derive_states has worked out (X).
local function is_over(connection)
    return not connection.fresh and IS_OVER[connection[1].state] and IS_OVER[connection[2].state] or false
end

--- Returns whether an acknowledgement number is acceptable for the SYN of an end (X2), as any is if that is unknown.
-- @param this_end the end
-- @param ack the acknowledgement number
-- @param limit how far it may lie beyond the SYN
local function is_acceptable(this_end, ack, limit)
    return this_end.isn == nil or distance(ack, this_end.isn + 1) <= limit
end

--- Returns whether an end has not begun to open, by its phase.
local function is_idle(this_end)
    return this_end.phase == LISTEN or this_end.phase == CLOSED
end

--- Returns whether the SYN of an end still has to be answered or acknowledged, by its phase.
local function is_opening(this_end)
    return this_end.phase == SYN_SENT or this_end.phase == SYN_RECEIVED
end

--- Returns the name of an end by the present choice of client (E2).
local function end_name(connection, index)
    return index == connection.client and "client" or "server"
end

--- Returns whether more time than a number of nanoseconds lies between two times.
local function is_more(segment, later, earlier, least)
    local elapsed = segment.subtract(later, earlier)
    return elapsed ~= nil and segment.nanoseconds(elapsed) > least
end

return {
    distance = distance, is_at_or_after = is_at_or_after, is_beyond = is_beyond, is_more = is_more,
    new_end = new_end, new_attempt = new_attempt,
    forget_fin = forget_fin, fin_counts = fin_counts, fin_arrived = fin_arrived, is_passive = is_passive,
    both_closed = both_closed, is_simultaneous = is_simultaneous, went_on = went_on,
    is_passive_opener = is_passive_opener, derive_states = derive_states,
    is_over = is_over, is_acceptable = is_acceptable, is_idle = is_idle, is_opening = is_opening, end_name = end_name,
}
