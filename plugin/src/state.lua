-- What is remembered of a connection (X): of each of its two ends, and of the latest attempt to open it.
--
-- How the state machine works. It has no clock, does no input or output, and uses nothing of Wireshark.
--
-- * A connection is one tcp.stream. connection[1] and connection[2] are its ends: 1 sent the first segment, 2 is the
--   other (G5). connection.client is the index of the end that is taken for the client: a guess until E1 settles it.
-- * Each end is one state machine of RFC 9293: its state, the numbers of its SYN and its FIN, and which of them were
--   acknowledged. A segment changes both ends at once, since it is taken as sent and delivered (X1).
-- * connection.attempt holds what is known of the latest attempt. A SYN on a connection that is over begins another.
-- * The tracker (annotator) puts the next segment of the capture into one table, judge() calls the rules of its kind in
--   opening, closing or aborting, and these change the record and note role, steps and anomalies in that table.
-- * Awkward: a capture can begin midway, lose segments and hold them in the wrong order. So each rule asks what was
--   seen (isn, syn_seen, syn_ack_seen, fin_seq), and some states follow from what an end could not have sent otherwise.
-- * Segments that can change nothing never get here: while a connection is quiet, the plugin skips its plain segments.
--   If you make a rule depend on something new, see that is_steady and marks_of in annotations.lua know of it.
--
-- SPDX-License-Identifier: GPL-2.0-or-later

local vocabulary = require("vocabulary")

local MODULUS, IS_OVER = vocabulary.MODULUS, vocabulary.IS_OVER
local CLOSED, LISTEN = vocabulary.CLOSED, vocabulary.LISTEN
local SYN_SENT, SYN_RECEIVED = vocabulary.SYN_SENT, vocabulary.SYN_RECEIVED

--- Returns how far one number is after another, modulo 2^32.
-- @param a, b sequence or acknowledgement numbers
local function distance(a, b)
    return (a - b) % MODULUS
end

--- Returns the record of an end (X) that has sent nothing yet. Names with nil only reserve their room in the table.
-- @param state its state
local function new_end(state)
    return {
        state = state, progress = 0, syn_length = 0, awaiting = false,
        isn = nil, syn_seen = false, syn_time = nil, syn_frame = nil, syn_frame_time = nil,
        syn_ack_seen = false, syn_ack_number = nil, syn_ack_frame = nil, syn_ack_frame_time = nil,
        first_seq = nil, first_ack = nil,
        -- rejected, fin_seq, fin_length, fin_frame, fin_frame_time, fin_step, fin_acked, fin_was_acked
    }
end

--- Returns the record of an attempt (X) before its first segment.
local function new_attempt()
    return {
        false, false, -- Z2, by index of the end: was a SYN or SYN-ACK of this end seen?
        syn_seen = false, syn_ack_seen = false, syn_ack_matched = false, third_step_seen = false, opened = false,
        close_complete = false, first_fin_by = nil, first_fin_time = nil,
        -- simultaneous_open, simultaneous_close, merged, reset_by, refused, aborted, unreachable
    }
end

--- Forgets the FIN of an end (H7).
local function forget_fin(this_end)
    this_end.fin_seq, this_end.fin_length, this_end.fin_frame = nil, nil, nil
    this_end.fin_frame_time, this_end.fin_step, this_end.fin_acked, this_end.fin_was_acked = nil, nil, nil, nil
end

--- Returns whether a connection is over (X4).
local function is_over(connection)
    return not connection.fresh and IS_OVER[connection[1].state] and IS_OVER[connection[2].state] or false
end

--- Returns whether an acknowledgement number is acceptable for the SYN of an end (X2).
-- @param this_end the end
-- @param ack the acknowledgement number
-- @param limit how far it may lie beyond the SYN
local function is_acceptable(this_end, ack, limit)
    return this_end.isn ~= nil and distance(ack, this_end.isn + 1) <= limit
end

--- Returns whether an end has no connection of its own: not yet, or no longer.
local function is_idle(this_end)
    return this_end.state == LISTEN or this_end.state == CLOSED
end

--- Returns whether the SYN of an end still has to be answered or acknowledged.
local function is_opening(this_end)
    return this_end.state == SYN_SENT or this_end.state == SYN_RECEIVED
end

--- Returns whether a SYN or SYN-ACK was captured after the segment of either end that follows it (H4, H8.4).
local function precedes_first(sender, peer, seq)
    local following = (seq + 1) % MODULUS
    return following == sender.first_seq or following == peer.first_ack
end

--- Returns whether an end is a passive opener (X5): it has sent a SYN-ACK and no SYN.
local function is_passive_opener(this_end)
    return this_end.syn_ack_seen and not this_end.syn_seen
end

--- Returns the name of an end by the present choice of client (E2).
local function end_name(connection, index)
    return index == connection.client and "client" or "server"
end

return {
    distance = distance, new_end = new_end, new_attempt = new_attempt, forget_fin = forget_fin, is_over = is_over,
    is_acceptable = is_acceptable, is_idle = is_idle, is_opening = is_opening, precedes_first = precedes_first,
    is_passive_opener = is_passive_opener, end_name = end_name,
}
