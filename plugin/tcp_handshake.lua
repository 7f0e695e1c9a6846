-- Built from plugin/src by `make plugin`: do not edit.
--
-- TCP Handshake: annotates how TCP connections are opened, closed and aborted.
--
-- A Wireshark post-dissector. It adds a tree "TCP Handshake" to every TCP segment with its sender, its role
-- (SYN, SYN-ACK, HANDSHAKE-ACK, ACK-OF-FIN, FIN, RST), the states of both ends by RFC 9293, response times and
-- anomalies, all filterable as tcp_handshake.*.
--
-- Install: copy this file into the personal Lua plugin folder (Help > About Wireshark > Folders, or
-- `tshark -G folders`); on Linux and macOS ~/.local/lib/wireshark/plugins, on Windows %APPDATA%\Wireshark\plugins.
-- Or try it once: tshark -X lua_script:tcp_handshake.lua -r capture.pcap
-- Needs Wireshark 4.0 or later. Without Wireshark the file returns its state machine (see "Tracker").
--
-- How to read this file. Each part begins with a line "-- ==== plugin/src/NAME.lua":
--   vocabulary, state, numbers      the words of the annotations; the record of a connection; chapter F
--   notes                           notes on a segment
--   opening, closing, aborting      the rules of chapters H, T and R: how a segment changes the record
--   connection_row, judge           the connection's row (C, Z); which rules judge a segment (G7, G8, X4)
--   diagnosis                       why a connection went as it did (D)
--   annotations, usual              what is kept of a capture; less of the conversations that are as usual
--   annotator                       the Tracker, which annotates segment by segment
--   wireshark.fields, .experts      the protocol with its preferences and fields; its expert information
--   wireshark.sentences             the diagnosis in words
--   wireshark.reader, .tree         a frame's segments out of Wireshark's fields; the items and notes that users see
--   wireshark.dissector, .tools     the post-dissector itself; the statistic and the entries of the Tools menu
--   main                            begins here: returns the state machine, or registers all of that in Wireshark
--
-- Rule numbers in comments (G1, H8.3 ...) are those of the specification, docs/annotations.md.
--
-- SPDX-License-Identifier: GPL-2.0-or-later

-- Each part below is a function, and this local require calls it once. The tables are local to the file, unlike
-- package.preload and package.loaded, which all Lua scripts in Wireshark share: no other script can have a part of the
-- same name, a reload of the Lua plugins (Ctrl+Shift+L) runs the new parts, and the file loads alike wherever it is
-- loaded from: the plugin folder, -X lua_script, or a Lua without Wireshark.
local modules, loaded = {}, {}

--- Returns what a part of this file returns.
-- @param name of the part: "state" is plugin/src/state.lua, "wireshark.tree" is plugin/src/wireshark/tree.lua
local function require(name)
    if loaded[name] == nil then
        loaded[name] = modules[name]()
    end
    return loaded[name]
end

-- ==== plugin/src/vocabulary.lua
modules["vocabulary"] = function()

-- The words of the annotations, and the numbers that the rules compare with. Every part takes them from here.
--
-- SPDX-License-Identifier: GPL-2.0-or-later

-- Sequence and acknowledgement numbers are taken modulo 2^32. A distance below half of that means "at or after".
local MODULUS = 4294967296
local HALF = 2147483648
-- X2: how much can follow a SYN-ACK before its first acknowledgement: an unscaled window and a FIN.
local FIRST_WINDOW = 65536
-- F5, F6, R5: no window is larger.
local LARGEST_WINDOW = 1073741824
-- X7: how far the numbers of an old connection can lie from those that it had when the new one began.
local NEAR = 1048576
-- G8, R6: the copy of a segment, and what was in flight when an RST was captured, come within so many nanoseconds.
local MOMENT = 100000000
-- R6: who sends something new more than so many nanoseconds after an RST did not get it.
local OUTLIVED = 1000000000
-- D: a long time, in nanoseconds, and in seconds that a float counts: 10 s, less what a float can miss.
local LONG, LONG_SECONDS = 10000000000, 9.9999995
local MOMENT_SECONDS = 0.1000005
-- H10, D6, D8: what lies further back was not on its way at the same time; a handshake is slow. In nanoseconds.
local NOTICEABLE, SLOW = 200000000, 1000000000
-- D5: octets that the closing alert of TLS mostly has at most, which nobody needs to read, and up to which a last
-- message can be such a one.
local FAREWELL, LAST_WORDS = 53, 128
-- D1: by how much the hop limit that an application sets (RFC 5082) exceeds that of its host's own segments.
local OF_APPLICATION = 255 - 64
-- D1: below this hop limit an application has set it, as BGP does to 1.
local NEAREST = 10
-- H10: of so many transmissions of a SYN the time and timestamp are remembered.
local SYNS = 8
-- G8: an identity from here on is a timestamp, a lower one the identification of an IP header.
local TIMESTAMP = 65536
-- G8: how many segments of an end are compared.
local RECENT = 4
-- G2: an ordinal below this tells apart several segments of one connection in one frame.
local ORDINALS = 65536

-- X1: the states of RFC 9293, section 3.3.2, that an end can be in.
local CLOSED, LISTEN = "CLOSED", "LISTEN"
local SYN_SENT, SYN_RECEIVED, ESTABLISHED = "SYN-SENT", "SYN-RECEIVED", "ESTABLISHED"
local FIN_WAIT_1, FIN_WAIT_2, CLOSE_WAIT = "FIN-WAIT-1", "FIN-WAIT-2", "CLOSE-WAIT"
local CLOSING, LAST_ACK, TIME_WAIT = "CLOSING", "LAST-ACK", "TIME-WAIT"

-- X4: a connection is over when both ends are in one of these states.
local IS_OVER = { [CLOSED] = true, [LISTEN] = true, [TIME_WAIT] = true }
-- X3: an attempt is opened when both ends are in one of these states.
local IS_OPENED = {
    [ESTABLISHED] = true, [FIN_WAIT_1] = true, [FIN_WAIT_2] = true, [CLOSE_WAIT] = true,
    [CLOSING] = true, [LAST_ACK] = true, [TIME_WAIT] = true,
}

-- G7: the kinds of segments. A kind that is a role too has the role's name.
local INVALID, PLAIN = "invalid", "plain"
local SYN, SYN_ACK, FIN, RST = "SYN", "SYN-ACK", "FIN", "RST"
-- The roles that are no kinds.
local HANDSHAKE_ACK, ACK_OF_FIN = "HANDSHAKE-ACK", "ACK-OF-FIN"

-- G7: the kind of a segment by the lowest five of its flags: ACK 16, PSH 8, RST 4, SYN 2, FIN 1.
local KINDS = {}
for flags = 0, 31 do
    local fin, syn, ack = flags % 2 >= 1, flags % 4 >= 2, flags >= 16
    if flags % 8 >= 4 then
        KINDS[flags] = RST
    elseif (syn and fin and not ack) or not (syn or ack) then
        KINDS[flags] = INVALID
    elseif syn then
        KINDS[flags] = ack and SYN_ACK or SYN
    else
        KINDS[flags] = fin and FIN or PLAIN
    end
end

-- The anomalies, in the order of the table in chapter A of the specification.
local ANOMALIES = {
    "syn-retransmission", "syn-ack-retransmission", "fin-retransmission", "connection-refused", "unreachable",
    "handshake-aborted", "simultaneous-open", "simultaneous-close", "syn-with-data", "half-close-data",
    "data-after-fin", "rst-after-fin", "segment-after-close", "port-reuse", "ack-mismatch", "invalid-flags",
    "syn-on-established", "duplicate", "rst-ignored", "challenge-ack", "seq-mismatch", "ack-beyond-sent",
    "old-connection",
}
-- A3: a segment with one of these anomalies is a retransmission.
local IS_RETRANSMISSION = {
    ["syn-retransmission"] = true, ["syn-ack-retransmission"] = true, ["fin-retransmission"] = true,
}

-- Places in an entry, the list that the tracker keeps of a segment. SENDER is the index of the end that sent it.
local ORDINAL, FRAME, TIME, SENDER, FLAGS, SEQ, ACK, LENGTH, OFFER, IDENTITY = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
local HOP_LIMIT = 11

return {
    MODULUS = MODULUS, HALF = HALF, FIRST_WINDOW = FIRST_WINDOW, LARGEST_WINDOW = LARGEST_WINDOW, NEAR = NEAR,
    MOMENT = MOMENT, OUTLIVED = OUTLIVED, LONG = LONG, LONG_SECONDS = LONG_SECONDS,
    MOMENT_SECONDS = MOMENT_SECONDS, NOTICEABLE = NOTICEABLE, SLOW = SLOW, SYNS = SYNS,
    FAREWELL = FAREWELL, LAST_WORDS = LAST_WORDS, OF_APPLICATION = OF_APPLICATION, NEAREST = NEAREST,
    TIMESTAMP = TIMESTAMP,
    RECENT = RECENT, ORDINALS = ORDINALS,
    CLOSED = CLOSED, LISTEN = LISTEN, SYN_SENT = SYN_SENT, SYN_RECEIVED = SYN_RECEIVED, ESTABLISHED = ESTABLISHED,
    FIN_WAIT_1 = FIN_WAIT_1, FIN_WAIT_2 = FIN_WAIT_2, CLOSE_WAIT = CLOSE_WAIT, CLOSING = CLOSING,
    LAST_ACK = LAST_ACK, TIME_WAIT = TIME_WAIT, IS_OVER = IS_OVER, IS_OPENED = IS_OPENED,
    INVALID = INVALID, PLAIN = PLAIN, SYN = SYN, SYN_ACK = SYN_ACK, FIN = FIN, RST = RST,
    HANDSHAKE_ACK = HANDSHAKE_ACK, ACK_OF_FIN = ACK_OF_FIN, KINDS = KINDS,
    ANOMALIES = ANOMALIES, IS_RETRANSMISSION = IS_RETRANSMISSION,
    ORDINAL = ORDINAL, FRAME = FRAME, TIME = TIME, SENDER = SENDER, FLAGS = FLAGS, SEQ = SEQ, ACK = ACK,
    LENGTH = LENGTH, OFFER = OFFER, IDENTITY = IDENTITY, HOP_LIMIT = HOP_LIMIT,
}

end

-- ==== plugin/src/state.lua
modules["state"] = function()

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

end

-- ==== plugin/src/numbers.lua
modules["numbers"] = function()

-- F. Following the numbers: how far each end has sent, how far that has arrived in order, and how far it has
-- acknowledged.
--
-- SPDX-License-Identifier: GPL-2.0-or-later

local vocabulary, state = require("vocabulary"), require("state")

local MODULUS, HALF, LARGEST_WINDOW = vocabulary.MODULUS, vocabulary.HALF, vocabulary.LARGEST_WINDOW
local SYN_RECEIVED, ESTABLISHED = vocabulary.SYN_RECEIVED, vocabulary.ESTABLISHED
local distance, is_at_or_after, is_beyond = state.distance, state.is_at_or_after, state.is_beyond
local forget_fin = state.forget_fin

--- Notes that everything up to a number has arrived, and with it what lies beyond the gap if that is closed (F3).
local function arrive(this_end, number)
    this_end.in_order = number
    if this_end.gap and is_at_or_after(number, this_end.gap) then
        this_end.gap, this_end.in_order = nil, this_end.next_sent
    end
end

--- Notes an acknowledgement of what the peer has sent (F2.4).
local function note_ack(sender, peer, ack)
    sender.early_ack = nil
    if not sender.acknowledged or is_beyond(ack, sender.acknowledged) then
        sender.acknowledged = ack
    end
    if is_beyond(ack, peer.in_order) then
        arrive(peer, ack)
    end
end

--- Returns whether a segment is new (F1), without following it.
-- @param seq, stop the numbers that it occupies: from seq up to stop
local function is_new(sender, seq, stop)
    local next_sent = sender.next_sent
    if not next_sent then
        return stop ~= seq
    elseif sender.heard and is_beyond(seq, sender.in_order) then
        next_sent = seq
    end
    return is_beyond(stop, next_sent)
end

--- Returns whether a plain or FIN segment repeats something (D2), before it is followed.
-- @param seq, stop the numbers that it occupies: from seq up to stop
local function repeats(sender, seq, stop)
    local next_sent = sender.next_sent
    if seq == next_sent then
        return false -- it is new, or occupies nothing
    elseif stop ~= seq then
        return not is_new(sender, seq, stop)
    end
    return next_sent == (seq + 1) % MODULUS
end

--- Follows the numbers that a segment occupies (F1), and counts an early acknowledgement of them (F4).
-- @return whether the segment is new
local function follow_sent(sender, peer, seq, stop)
    if seq == sender.next_sent and seq == sender.in_order and not sender.gap and not peer.early_ack then
        sender.heard = false -- the usual case, with the result of what follows: nothing is missing, nothing repeated
        local has_more = is_beyond(stop, seq)
        if has_more then
            sender.next_sent, sender.in_order = stop, stop
        end
        return has_more
    end
    local new = is_new(sender, seq, stop)
    if not sender.next_sent then
        sender.first_seq, sender.next_sent, sender.in_order = seq, stop, stop
    else
        if sender.heard and is_beyond(seq, sender.in_order) then
            sender.next_sent, sender.in_order = seq, seq
        end
        if new then
            if not sender.gap and is_beyond(seq, sender.in_order) then
                sender.gap = seq
            end
            sender.next_sent = stop
        end
        if not is_beyond(seq, sender.in_order) and is_beyond(stop, sender.in_order) then
            arrive(sender, stop)
        end
    end
    sender.heard = false
    if peer.early_ack and not is_beyond(peer.early_ack, sender.next_sent) then
        note_ack(peer, sender, peer.early_ack)
    end
    return new
end

--- Follows an acknowledgement number (F2).
-- @param new whether the segment is new (F1)
local function follow_ack(sender, peer, ack, new)
    if not peer.next_sent then
        peer.heard, peer.first_seq, peer.next_sent, peer.in_order = true, ack, ack, ack
    elseif is_beyond(ack, peer.next_sent) then
        if not peer.heard and not (new and sender.early_ack == ack) then
            sender.early_ack = ack
            return
        end
        peer.next_sent, peer.in_order, peer.gap = ack, ack, nil
    end
    note_ack(sender, peer, ack)
end

--- Follows a SYN or SYN-ACK that is being remembered (F1). Its sender's isn is still the former one.
-- @param seq, length what the segment has
local function follow_syn(sender, peer, seq, length)
    if seq ~= sender.isn and not sender.spoke then
        sender.next_sent, sender.in_order, sender.gap = nil, nil, nil
    end
    follow_sent(sender, peer, seq, (seq + length + 1) % MODULUS)
    sender.first_seq = seq
    if sender.fin_seq and not is_beyond(sender.fin_seq, seq) then
        forget_fin(sender)
    end
end

--- Returns whether no window can hold the sequence number of a plain or FIN segment (F5).
local function is_wild(sender, seq)
    if not sender.spoke or sender.heard then
        return false
    end
    local ahead = distance(seq, sender.next_sent)
    return ahead > LARGEST_WINDOW and ahead < MODULUS - LARGEST_WINDOW
end

--- Returns whether a number lies ahead of another, no further than a window reaches (F6).
local function is_ahead_of(a, b)
    local ahead = distance(a, b)
    return ahead > 0 and ahead < LARGEST_WINDOW
end

--- Returns whether an end takes part in a connection of which the capture can lack segments (F6).
local function can_skip(this_end)
    return (this_end.phase == ESTABLISHED or this_end.phase == SYN_RECEIVED)
        and not (this_end.gone or this_end.was_reset or this_end.heard or this_end.fin_seq)
end

--- Moves the numbers of both ends to those of a segment that skips what the capture lacks (F6). The segment is plain, a
-- FIN or an RST with ACK, and its connection neither fresh nor over.
-- @return whether it skips
local function skip_missing(sender, peer, seq, ack, is_fin)
    local sent, peer_sent = sender.next_sent, peer.next_sent
    if not (sent and peer_sent and is_ahead_of(seq, sent) and is_ahead_of(ack, peer_sent))
        or is_fin and distance(ack, peer_sent) == 1 -- T7
        or not (can_skip(sender) and can_skip(peer)) then
        return false
    end
    sender.next_sent, sender.in_order, sender.gap, sender.early_ack = seq, seq, nil, nil
    peer.next_sent, peer.in_order, peer.gap, peer.early_ack = ack, ack, nil, nil
    sender.phase, sender.awaiting, peer.phase, peer.awaiting = ESTABLISHED, false, ESTABLISHED, false
    return true
end

--- Follows a plain segment on a quiet connection (F1, F2), faster than follow_sent and follow_ack, if everything that
-- both ends have sent has arrived, and everything that they have acknowledged was sent.
-- @return false if it needs those, and was not followed
local function follow_quiet(sender, peer, seq, ack, length)
    local sent, peer_sent = sender.next_sent, peer.next_sent
    local repeated = (sent - seq) % MODULUS
    if repeated >= LARGEST_WINDOW or sent ~= sender.in_order or sender.gap or sender.early_ack
        or peer_sent ~= peer.in_order or peer.gap or peer.early_ack then
        return false
    end
    if ack ~= peer_sent and (ack - peer_sent) % MODULUS < HALF then
        if not peer.heard then
            return false
        end
        peer.next_sent, peer.in_order = ack, ack
    end
    if (ack - sender.acknowledged) % MODULUS < HALF then
        sender.acknowledged = ack
    end
    if length > repeated then
        local stop = (seq + length) % MODULUS
        sender.next_sent, sender.in_order = stop, stop
    end
    return true
end

return {
    is_new = is_new, repeats = repeats, follow_sent = follow_sent, follow_ack = follow_ack, follow_syn = follow_syn,
    is_wild = is_wild, skip_missing = skip_missing, follow_quiet = follow_quiet,
}

end

-- ==== plugin/src/notes.lua
modules["notes"] = function()

-- Notes on the segment being judged. A tracker has one table for them and fills it anew for each segment:
--
--   frame, time, sender, peer      where it stands; sender and peer are indexes of the connection's ends
--   kind, flags, seq, ack, length  what it is (G7)
--   in_flight                      true if it was in flight when an RST was captured (R6)
--   skips                          true for an RST before which the capture lacks segments of both ends (F6)
--   judged                         false for what is not judged (X): invalid (G7), a duplicate (G8), in flight (R6),
--                                  of an old connection (X7), after the close (X4)
--   role, teardown_step            what the rules say of it; several are joined with "+" (T9)
--   handshake_step, responds_to, handshake_time, teardown_time
--   answered_time, is_ambiguous    time of the frame that it responds to; is that perhaps another transmission (H10)?
--   hop_limit, ends_silence        D1, or nil; whether it comes a long time after the one before it (D3)
--   anomalies                      a set, or nil
--   retransmission_delay, explanations, response_time
--                                  only if the caller needs an annotation; without explanations nothing is formatted
--   peer_name                      "client" or "server", for the explanations
--
-- SPDX-License-Identifier: GPL-2.0-or-later

local vocabulary, state = require("vocabulary"), require("state")

local format, concat = string.format, table.concat
local MODULUS, ANOMALIES = vocabulary.MODULUS, vocabulary.ANOMALIES
local distance = state.distance

-- The teardown steps as strings: the versions of Lua format the number 1 differently.
local DIGITS = { "1", "2", "3", "4" }

--- Adds a role to the segment, after those that it has (T9).
local function add_role(segment, role)
    segment.role = segment.role and segment.role .. "+" .. role or role
end

--- Adds a teardown step to the segment, after those that it has (T9).
local function add_teardown_step(segment, step)
    local digit = DIGITS[step]
    segment.teardown_step = segment.teardown_step and segment.teardown_step .. "+" .. digit or digit
end

--- Adds an anomaly to the segment.
local function add_anomaly(segment, anomaly)
    segment.anomalies = segment.anomalies or {}
    segment.anomalies[anomaly] = true
end

--- Joins the anomalies of a set with "+", in the order of the table in chapter A.
-- @param set the anomalies, or nil
-- @return a string, or nil if there are none
local function join_anomalies(set)
    if not set then
        return nil
    end
    local list = {}
    for index = 1, #ANOMALIES do
        if set[ANOMALIES[index]] then
            list[#list + 1] = ANOMALIES[index]
        end
    end
    return #list > 0 and concat(list, "+") or nil
end

--- Adds a part to the explanation if an annotation is needed.
-- @param template as of string.format; %.0f formats a sequence number alike on every version of Lua
local function explain(segment, template, ...)
    local explanations = segment.explanations
    if explanations then
        explanations[#explanations + 1] = format(template, ...)
    end
end

--- Returns the time from an earlier segment to this one if an annotation is needed.
local function time_since(segment, earlier)
    return segment.explanations and segment.subtract(segment.time, earlier)
end

--- Notes that the segment answers a frame (H10).
-- @param frame, time of the segment that it answers; without a frame nothing is noted
-- @param again true if that was sent several times: which of them is answered is ambiguous, and so is the time
local function answer(segment, frame, time, again)
    if frame then
        segment.responds_to, segment.answered_time, segment.is_ambiguous = frame, time, again
        segment.response_time = not again and time_since(segment, time) or nil
    end
end

--- Returns an acknowledgement number as a sum: "301 = 300 + 1", or "321 = 300 + 1 + 20" if it acknowledges data too.
local function sum_of_syn(ack, isn)
    local data = distance(ack, isn + 1)
    if data == 0 then
        return format("%.0f = %.0f + 1", ack, isn)
    end
    return format("%.0f = %.0f + 1 + %.0f", ack, isn, data)
end

--- Appends to an explanation that its numbers are raw, because Wireshark shows relative ones by default.
local function with_unit(text)
    if text:find("=", 1, true) then
        return text .. " (raw sequence numbers)"
    end
    return text:find("%d") and text .. " (raw)" or text
end

--- Explains that the segment acknowledges the peer's SYN or SYN-ACK.
-- @param what "SYN" or "SYN-ACK"
local function explain_ack(segment, peer, what)
    if not segment.explanations or not peer.isn then
        return
    end
    local data = distance(segment.ack, peer.isn + 1) > 0 and " and data" or ""
    explain(segment, "acknowledges the %s's %s%s: %s", segment.peer_name, what, data,
        sum_of_syn(segment.ack, peer.isn))
end

--- Notes that the segment acknowledges the peer's SYN with a number other than ISN + 1.
local function mismatch(segment, peer)
    add_anomaly(segment, "ack-mismatch")
    explain(segment, "acknowledges %.0f, but %.0f = %.0f + 1 was expected for the %s's SYN", segment.ack,
        (peer.isn + 1) % MODULUS, peer.isn, segment.peer_name)
end

--- Notes the same, and remembers that the peer rejects the number.
local function reject(segment, peer)
    mismatch(segment, peer)
    peer.rejected = segment.ack
end

return {
    add_role = add_role, add_teardown_step = add_teardown_step, add_anomaly = add_anomaly,
    join_anomalies = join_anomalies, explain = explain, answer = answer, sum_of_syn = sum_of_syn,
    with_unit = with_unit, explain_ack = explain_ack, mismatch = mismatch, reject = reject,
}

end

-- ==== plugin/src/connection_row.lua
modules["connection_row"] = function()

-- C and Z. The connection's row: how the latest attempt was opened and closed, its history and what both ends offer.
--
-- Each function works out its value from the record when it is asked, so that it holds for the capture so far (C17).
--
-- SPDX-License-Identifier: GPL-2.0-or-later

local vocabulary, state, notes = require("vocabulary"), require("state"), require("notes")

local floor, find = math.floor, string.find
local SYN, PLAIN, KINDS = vocabulary.SYN, vocabulary.PLAIN, vocabulary.KINDS
local end_name, fin_counts, is_passive = state.end_name, state.fin_counts, state.is_passive
local is_beyond, is_simultaneous, join_anomalies = state.is_beyond, state.is_simultaneous, notes.join_anomalies

--- Returns how the latest attempt was opened: the first of C4 that fits.
local function establishment_of(connection)
    local attempt = connection.attempt
    if not (attempt.syn_seen or attempt.syn_ack_seen) then
        return "not-captured"
    elseif attempt.opened then
        if attempt.simultaneous_open then
            return "simultaneous"
        elseif attempt.syn_seen and attempt.syn_ack_matched and attempt.third_step_seen then
            return "complete"
        end
        return "partial"
    elseif attempt.aborted then
        return "aborted"
    elseif attempt.refused then
        return "refused"
    elseif attempt.syn_ack_matched then
        return "half-open"
    elseif attempt.unreachable then
        return "unreachable"
    end
    return attempt.invalid_answer and "invalid-answer" or "unanswered"
end

--- Returns whether the close is merged (T3): the FIN of the passive end was the first to acknowledge the other.
local function is_merged(connection)
    for index = 1, 2 do
        local this_end, peer = connection[index], connection[3 - index]
        if is_passive(this_end, peer) then
            local before = this_end.fin_acked_before
            return before == nil or is_beyond(peer.fin_seq + 1, before)
        end
    end
    return false
end

--- Returns how the latest attempt was closed: the first of C5 that fits.
local function termination_of(connection)
    local one, two, attempt = connection[1], connection[2], connection.attempt
    local of_one, of_two = fin_counts(one, two), fin_counts(two, one)
    if attempt.close_complete then
        if is_simultaneous(connection) then
            return "simultaneous"
        end
        return is_merged(connection) and "three-way" or "four-way"
    elseif attempt.reset_by then
        return "reset"
    elseif of_one and of_two then
        return "unacknowledged"
    end
    return (of_one or of_two) and "half-closed" or "none"
end

--- Returns who began to close the latest attempt: the first of C6 that fits, or nil.
local function closed_by_of(connection)
    if is_simultaneous(connection) then
        return "both"
    end
    for index = 1, 2 do
        local this_end, peer = connection[index], connection[3 - index]
        if fin_counts(this_end, peer) and not is_passive(this_end, peer) then
            return end_name(connection, index)
        end
    end
    local by = connection.attempt.reset_by
    return by and end_name(connection, by) or nil
end

--- Returns whose RST ended the latest attempt (C6), or nil.
local function reset_by_of(connection)
    local attempt = connection.attempt
    return attempt.reset_by and not attempt.close_complete and end_name(connection, attempt.reset_by) or nil
end

--- Returns the letters that a segment gives, in their order (Z1).
-- @param flags the lowest five of its flags
-- @param has_payload true if it carries payload
local function letters_of(flags, has_payload)
    local fin, syn, rst = flags % 2 >= 1, flags % 4 >= 2, flags % 8 >= 4
    if syn and (rst or fin) then
        return "Q"
    elseif rst then
        return fin and "I" or "R"
    end
    local letters = ""
    if syn then
        letters = KINDS[flags] == SYN and "S" or "H"
    end
    if has_payload then
        letters = letters .. "D"
    elseif KINDS[flags] == PLAIN then
        letters = letters .. "A"
    end
    return fin and letters .. "F" or letters
end

-- Z1: these letters by the end that sent the segment and its lowest five flags, plus 32 if it carries payload. Those of
-- the second end are in lower case.
local LETTERS = { {}, {} }
for flags = 0, 31 do
    LETTERS[1][flags], LETTERS[1][flags + 32] = letters_of(flags, false), letters_of(flags, true)
    LETTERS[2][flags], LETTERS[2][flags + 32] = LETTERS[1][flags]:lower(), LETTERS[1][flags + 32]:lower()
end

--- Adds the letters of a segment to the history (Z1), which is kept as if the first end were the client.
local function note_history(connection, segment)
    local letters = LETTERS[segment.sender][segment.flags % 32 + (segment.length > 0 and 32 or 0)]
    if find(connection.history_letters, letters, 1, true) then
        return
    end
    for index = 1, #letters do
        local letter = letters:sub(index, index)
        if not find(connection.history_letters, letter, 1, true) then
            connection.history_letters = connection.history_letters .. letter
        end
    end
end

--- Returns the history by the present choice of client (Z1), or nil if it is empty.
local function history_of(connection)
    local letters = connection.history_letters
    if connection.client == 2 then
        letters = "^" .. letters:gsub("%a", function(letter)
            local upper = letter:upper()
            return letter == upper and letter:lower() or upper
        end)
    end
    return letters ~= "" and letters or nil
end

-- How Zeek takes an end to have ended (Z2): by a FIN, by an RST, by an RST after a FIN.
local ENDED_BY_FIN, ENDED_BY_RST, ENDED_BY_RST_AFTER_FIN = "closed", "reset", "closed-reset"

--- Notes what a segment with FIN or RST means to Zeek for its sender (Z2).
local function note_zeek_end(connection, segment)
    local flags, attempt, own, other = segment.flags, connection.attempt, segment.sender + 2, segment.peer + 2
    local before = attempt[own]
    if flags % 8 < 4 then -- no RST
        if flags % 2 >= 1 and before ~= ENDED_BY_RST and before ~= ENDED_BY_RST_AFTER_FIN then
            attempt[own] = ENDED_BY_FIN
            if attempt[other] == ENDED_BY_RST_AFTER_FIN then
                attempt[other] = ENDED_BY_FIN
            end
        end
    elseif not before then
        attempt[own] = ENDED_BY_RST
    elseif before == ENDED_BY_FIN and attempt[other] ~= ENDED_BY_FIN then
        attempt[own] = ENDED_BY_RST_AFTER_FIN
    end
end

--- Returns Zeek's connection state of the latest attempt: the first row of Z2 that fits.
local function conn_state_of(connection)
    local attempt, client_index, server_index = connection.attempt, connection.client, 3 - connection.client
    -- Was an opening of this end seen? remember_syn and note_syn_ack (opening) keep it by the index of the end.
    local of_client = attempt[client_index] or connection[server_index].syn_ack_seen and connection[client_index].spoke
    local of_server = attempt[server_index]
    local client, server = attempt[client_index + 2], attempt[server_index + 2]
    if server == ENDED_BY_RST or server == ENDED_BY_RST_AFTER_FIN then
        local both_at_once = client == ENDED_BY_RST and not connection.history_letters:find("[Dd]")
        if both_at_once or of_client and not of_server and not client then
            return "REJ"
        end
        return (of_client or client) and "RSTR" or "RSTRH"
    elseif client == ENDED_BY_RST or client == ENDED_BY_RST_AFTER_FIN then
        if of_server or server then
            return "RSTO"
        end
        return (history_of(connection) or ""):find("^%^?S[^HAFGIQ]*R") and "RSTOS0" or "OTH"
    elseif client then
        return server and "SF" or of_server and "S2" or "SH"
    elseif server then
        return of_client and "S3" or "SHR"
    elseif of_client then
        return of_server and "S1" or "S0"
    end
    return "OTH"
end

-- C13: what the flags AE, CWR and ECE of the server's segment settle, by those of the client's. ECE counts 1, CWR 2,
-- AE 4, as the flags AE 256, CWR 128 and ECE 64 divided by 64 do.
local ECN = {
    [7] = { [1] = "rfc3168", [2] = "accecn", [3] = "accecn", [4] = "accecn", [6] = "accecn" }, -- AE, CWR and ECE
    [3] = { [1] = "rfc3168" }, -- CWR and ECE
}

--- Returns the flags that one of two sets of AE, CWR and ECE has.
local function union(one, other)
    local flags = 0
    for _, flag in ipairs({ 1, 2, 4 }) do
        if one % (2 * flag) >= flag or other % (2 * flag) >= flag then
            flags = flags + flag
        end
    end
    return flags
end

--- Puts what the sender of a SYN or SYN-ACK offers into its annotation, and what both ends have settled so far (C12,
-- C13, C17).
local function note_offer(connection, segment, annotation)
    local offer = segment.offer
    if offer then
        annotation.mss, annotation.window_scale = offer.mss, offer.window_scale
        annotation.fast_open = offer.fast_open
    end
    local offers, ecn = connection.offers, floor(segment.flags / 64) % 8
    local before = offers[segment.sender]
    if before and before.seq == segment.seq and segment.role == SYN then
        ecn = union(before.ecn, ecn)
    end
    -- G2: of several headers in a frame nothing tells whose the options are. Then there is no offer.
    offers[segment.sender] = {
        seq = segment.seq, ecn = ecn,
        sack_permitted = offer and offer.sack_permitted == true, timestamps = offer and offer.timestamps == true,
    }
    local client, server = offers[connection.client], offers[3 - connection.client]
    if client and server and client.timestamps ~= nil and server.timestamps ~= nil then
        annotation.sack_permitted = client.sack_permitted and server.sack_permitted
        annotation.timestamps = client.timestamps and server.timestamps
        annotation.ecn = ECN[client.ecn] and ECN[client.ecn][server.ecn] or "none"
    end
end

--- Returns the summary of a connection at the moment.
local function summary_of(connection)
    local client, server = connection.client, 3 - connection.client
    return {
        establishment = establishment_of(connection), termination = termination_of(connection),
        closed_by = closed_by_of(connection), reset_by = reset_by_of(connection),
        conn_state = conn_state_of(connection), history = history_of(connection),
        handshake_time = connection.handshake_time, teardown_time = connection.teardown_time, -- C8, C10
        anomalies = join_anomalies(connection.anomalies), -- C16
        client = connection.addresses[client], client_port = connection.ports[client], -- C1
        server = connection.addresses[server], server_port = connection.ports[server],
        client_state = connection[client].state, server_state = connection[server].state, -- C7
    }
end

return {
    establishment_of = establishment_of, note_history = note_history, note_zeek_end = note_zeek_end,
    note_offer = note_offer, summary_of = summary_of,
}

end

-- ==== plugin/src/diagnosis.lua
modules["diagnosis"] = function()

-- D. Diagnosis: why the latest attempt went as it did, where to look for the cause, and in which frames it shows.
--
-- connection.trace is what chapter D keeps beside the record: of both ends by their index, and of the attempt. The
-- rules of the other chapters call the note_ functions here where a segment meets them. No annotation of a segment
-- depends on the trace. So Tracker:review, which judges a connection again for its annotations, sets it aside.
--
-- SPDX-License-Identifier: GPL-2.0-or-later

local vocabulary, state, numbers = require("vocabulary"), require("state"), require("numbers")
local establishment_of = require("connection_row").establishment_of

local format, find, abs, max, min = string.format, string.find, math.abs, math.max, math.min
local MODULUS = vocabulary.MODULUS
local SYN_SENT = vocabulary.SYN_SENT
local SYN, SYN_ACK, FIN, RST = vocabulary.SYN, vocabulary.SYN_ACK, vocabulary.FIN, vocabulary.RST
local LONG, LONG_SECONDS = vocabulary.LONG, vocabulary.LONG_SECONDS
local NOTICEABLE, SLOW, MOMENT = vocabulary.NOTICEABLE, vocabulary.SLOW, vocabulary.MOMENT
local FAREWELL, LAST_WORDS = vocabulary.FAREWELL, vocabulary.LAST_WORDS
local OF_APPLICATION, NEAREST = vocabulary.OF_APPLICATION, vocabulary.NEAREST
local ESTABLISHED, PLAIN = vocabulary.ESTABLISHED, vocabulary.PLAIN
local is_beyond, is_more, fin_counts, end_name = state.is_beyond, state.is_more, state.fin_counts, state.end_name
local distance, both_closed, is_simultaneous = state.distance, state.both_closed, state.is_simultaneous
local went_on = state.went_on
local is_new, repeats = numbers.is_new, numbers.repeats

--- Returns the trace of an attempt before its first segment.
local function new_trace()
    return {
        { repeats = 0, silent = false, hop_limit = nil, hop_limit_varies = false },
        { repeats = 0, silent = false, hop_limit = nil, hop_limit_varies = false },
        is_calm = true, -- is there nothing that a segment could change but talker, a silence and hop limits?
        first_talker = nil, third_step_time = nil, -- at most four names: a fifth would double the room
        -- Of an end: misnumbered, repeat_seq, repeat_frame, wild_rst with wild_seq, wild_hop_limit and
        -- guesses, doubtful_rst with doubtful_time, doubtful_seq and doubtful_hop_limit. Of the attempt: silence_frame,
        -- injected_rst with injected_end (whose it would be) and injected_hop_limit, reset_kind, reset_frame,
        -- reset_hop_limit, reset_suspect (D5: an index or "path"), former_reset, closing_rst, delay_kind, delay_frame,
        -- is_inferred (the fourth row of D6 said so), old_answer, invalid_frame, error_kind, error_frame,
        -- error_suspect; marked: the latest frame that can be evidence
    }
end

--- Returns whether an end repeats nothing, is not silent, and has sent no RST that can turn out to be another's.
local function is_calm(of_end)
    return of_end.repeats == 0 and not of_end.silent and not of_end.doubtful_rst
end

-- ------------------------------------------------------------------------------------------------ What rules note

--- Notes the hop limit of a segment that tells its sender's (D1).
-- @param hop_limit of the segment, or nil
local function note_hop_limit(trace, sender, hop_limit)
    local of_end = trace[sender]
    if hop_limit and of_end.hop_limit ~= hop_limit then
        of_end.hop_limit_varies = of_end.hop_limit_varies or of_end.hop_limit ~= nil
        of_end.hop_limit = hop_limit
    end
end

--- Notes a segment of any kind before the rules of its kind: it ends a silence (D3), and the repetitions of its
-- sender's peer (D2).
local function note_arrival(connection, segment)
    local trace, kind = connection.trace, segment.kind
    if trace.is_calm and not segment.ends_silence then
        return
    end
    local own, other = trace[segment.sender], trace[segment.peer]
    if segment.ends_silence and not connection.fresh then
        trace.silence_frame = segment.frame
        other.silent = not connection[segment.peer].gone
        own.silent = not connection[segment.sender].gone
    end
    if kind ~= RST then
        own.silent, other.repeats = false, 0
        if kind == SYN or kind == SYN_ACK then -- D4
            own.doubtful_rst = nil
        end
    end
    trace.is_calm = is_calm(own) and is_calm(other)
end

--- Notes a plain or FIN segment to which T applies, before F1: whether it repeats something (D2), and who talks.
-- @param stop the number after those that it occupies
local function note_transfer(connection, segment, stop)
    local trace, index, seq = connection.trace, segment.sender, segment.seq
    local sender, own = connection[index], trace[index]
    if not sender.spoke then
        note_hop_limit(trace, index, segment.hop_limit)
    end
    if own.repeats > 0 and sender.acknowledged and is_beyond(segment.ack, sender.acknowledged) then
        own.repeats = 0 -- its peer has answered, if not in the capture
    end
    if segment.ends_pause and repeats(sender, seq, stop) and (stop ~= seq or connection.captured == 3) then
        own.repeats = own.repeat_seq == seq and own.repeats + 1 or 1
        own.repeat_seq, own.repeat_frame, trace.is_calm = seq, segment.frame, false
    end
    if segment.length > 0 then
        trace.first_talker, connection.talker = trace.first_talker or index, index
    end
end

--- Notes that an end acknowledges a FIN by a segment with a number before its first (D8).
local function note_acknowledged_fin(connection, segment)
    local first_seq = connection[segment.sender].first_seq
    if first_seq and is_beyond(first_seq, segment.seq) then
        connection.trace[segment.sender].misnumbered = true
    end
end

--- Notes that the capture lacks what both ends have said before a segment (F6): 0 stands for whoever that was (D5).
local function note_missing(connection)
    connection.trace.first_talker, connection.talker = connection.trace.first_talker or 0, 0
end

--- Returns by how much the hop limit of an RST differs from its sender's, or nil if nothing shows that (D1).
local function hops_off(own, hop_limit)
    return hop_limit and own.hop_limit and not own.hop_limit_varies and abs(hop_limit - own.hop_limit) or nil
end

--- Returns the hop limit of an RST, or nil with SYN or FIN, which only a damaged segment has (D1).
local function hop_limit_of(segment)
    return segment.flags % 4 == 0 and segment.hop_limit or nil
end

--- Returns whether the hop limit of an RST is that of another device (D1).
local function is_foreign(own, hop_limit)
    local off = hops_off(own, hop_limit)
    return off ~= nil and off > 1 and own.hop_limit >= NEAREST and abs(own.hop_limit - hop_limit - OF_APPLICATION) > 1
end

--- Notes an RST that its end did not send (D4).
-- @param index of the end that seemed to send it
local function note_injected(trace, frame, index, hop_limit)
    trace.injected_rst, trace.injected_end, trace.injected_hop_limit = frame, index, hop_limit
end

--- Returns where to look for the cause of such an RST (D4), or nil.
local function injected_suspect(trace)
    return is_foreign(trace[trace.injected_end], trace.injected_hop_limit) and "path" or nil
end

--- Notes a plain or FIN segment that R6 and F5 have let through, or a new one that was in flight (R6): it can show that
-- its sender did not send an RST (D4).
local function note_life(connection, segment)
    local trace, sender = connection.trace, connection[segment.sender]
    if trace.is_calm then
        return
    end
    local own = trace[segment.sender]
    if own.doubtful_rst then
        local stop = (segment.seq + segment.length + (segment.kind == FIN and 1 or 0)) % MODULUS
        local new = is_new(sender, segment.seq, stop)
        local shows_life = new or sender.acknowledged and is_beyond(segment.ack, sender.acknowledged)
        local goes_on = is_beyond((segment.seq + segment.length) % MODULUS, own.doubtful_seq)
            and not is_beyond(own.doubtful_seq, segment.seq)
        if segment.in_flight then
            shows_life = new and goes_on
        elseif shows_life and not goes_on then
            shows_life = is_more(segment, segment.time, own.doubtful_time, MOMENT)
        end
        if shows_life then
            note_injected(trace, own.doubtful_rst, segment.sender, own.doubtful_hop_limit)
            own.doubtful_rst = nil
            trace.is_calm = is_calm(trace[1]) and is_calm(trace[2])
        end
    end
end

--- Notes an RST with a number that its sender cannot have sent (D4): one more guess, unless the same was tried before.
local function note_wild_rst(connection, segment)
    local own = connection.trace[segment.sender]
    if both_closed(connection) then
        return
    end
    if own.wild_seq ~= segment.seq then
        own.guesses = (own.guesses or 0) + 1
    end
    own.wild_rst, own.wild_seq, own.wild_hop_limit = segment.frame, segment.seq, hop_limit_of(segment)
end

--- Notes a challenge-ack by R7: its sender's peer cannot have sent the RST that it answers (D4).
local function note_challenge(connection, segment)
    local trace = connection.trace
    local of_peer = trace[segment.peer]
    if of_peer.wild_rst then
        note_injected(trace, of_peer.wild_rst, segment.peer, of_peer.wild_hop_limit)
    end
end

--- Notes a SYN-ACK that answers the SYN when the connection is over (X4): its sender did not refuse that (D4).
local function note_late_syn_ack(connection, segment)
    if connection.attempt.refused then
        local trace = connection.trace
        note_injected(trace, trace.reset_frame, segment.sender, trace.reset_hop_limit)
    end
end

--- Notes a segment by X7: its sender answers a SYN from an older connection.
local function note_old_answer(connection, segment)
    if segment.kind == PLAIN and connection[segment.peer].phase == SYN_SENT then
        connection.trace.old_answer, connection.trace.marked = segment.frame, segment.frame
    end
end

--- Returns whether an end has sent payload (Z1).
local function has_talked(connection, index)
    return find(connection.history_letters, index == 1 and "D" or "d", 1, true) ~= nil
end

--- Returns whether an end cannot have closed before the capture began (D8).
local function was_open(connection, index)
    local attempt = connection.attempt
    return not connection.trace[index].misnumbered
        and (attempt.syn_seen or attempt.syn_ack_matched or has_talked(connection, index))
end

--- Returns whether the numbers of an RST show that the capture lacks something before it (D5).
local function shows_gap(segment, sender, peer)
    return segment.skips or sender.next_sent and is_beyond(segment.seq, sender.next_sent)
        or segment.flags % 32 >= 16 and peer.next_sent and is_beyond(segment.ack, peer.next_sent)
end

--- Returns whether what an end left unread can be last words of its peer (D5): little, after what it has read.
-- @param read the number up to which it has read
local function are_last_words(peer, read, unread)
    return unread <= LAST_WORDS and not (peer.isn and read == (peer.isn + 1) % MODULUS)
end

--- Returns the class of an RST: the first row of D5 that fits.
-- @param was_fresh whether the connection was fresh before it
-- @return the class
-- @return where to look for the cause: the index of an end, "path", or nil
local function class_of(connection, segment, was_fresh)
    local trace, index, peer_index = connection.trace, segment.sender, segment.peer
    local sender, peer, own = connection[index], connection[peer_index], trace[index]
    local sender_closed, peer_closed = fin_counts(sender, peer), fin_counts(peer, sender)
    local attempt, has_ack = connection.attempt, segment.flags % 32 >= 16
    local guesses, off = own.guesses or 0, hops_off(own, hop_limit_of(segment))
    local gap = shows_gap(segment, sender, peer)
    local suspect = guesses == 0 and off and off < 2 and not gap and index or nil
    local unanswered = not gap and trace.first_talker == peer_index and connection.talker == peer_index
    local is_closed = sender_closed and peer_closed
    local reach = peer_closed and peer.fin_seq or peer.next_sent
    local read = sender.acknowledged
    local unread = sender_closed and reach and read and is_beyond(reach, read) and distance(reach, read) or 0
    if not is_closed and is_foreign(own, hop_limit_of(segment)) and (attempt.opened or index ~= connection.client) then
        return "injected-reset", "path"
    elseif not is_closed and guesses > 1 then
        return "injected-reset", nil
    elseif segment.rejects then
        return "invalid-answer", nil
    elseif own.repeats >= 2 or has_ack and trace[peer_index].repeats >= 2
        or sender.awaiting and sender.syn_ack_again then
        return "peer-vanished", nil
    elseif unread > (peer_closed and FAREWELL or 0) then
        local is_excused = are_last_words(peer, read, unread) or is_simultaneous(connection)
            or is_more(segment, segment.time, sender.fin_first_time, SLOW - 1)
        return "reset-with-unread-data", not is_excused and suspect or nil
    elseif is_closed then
        return "reset-after-close", nil
    elseif sender_closed and sender.fin_acked and is_more(segment, segment.time, sender.fin_first_time, LONG - 1)
        and not went_on(peer, sender) then
        return "close-not-finished", was_open(connection, peer_index) and peer_index or nil
    elseif sender_closed and has_ack then
        return "reset-after-close", nil
    elseif has_ack and peer_closed and not unanswered
        and not (peer.acknowledged and is_beyond(peer.acknowledged, peer.fin_ack)) then
        return "reset-after-close", nil
    elseif own.silent and (not has_ack or trace.silence_frame == segment.frame) then
        return "idle-timeout", nil
    elseif index == connection.client and attempt.syn_seen and not sender.syn_again and not peer.syn_seen
        and not (sender_closed or peer_closed or trace.first_talker) then
        return "probe", suspect
    elseif was_fresh and has_ack and segment.seq == 0 then
        return "port-closed", nil
    elseif was_fresh or not has_ack then
        return "no-such-connection", nil
    end
    if reach and is_beyond(reach, segment.ack) then
        local is_excused = are_last_words(peer, segment.ack, distance(reach, segment.ack))
        return "reset-with-unread-data", not is_excused and suspect or nil
    elseif unanswered then
        local has_heard_all = peer_closed and is_beyond(segment.ack, peer.fin_seq)
        local is_excused = has_heard_all or has_talked(connection, index)
            or not (attempt.syn_seen or attempt.syn_ack_matched)
        return "reset-with-unread-data", not is_excused and suspect or nil
    end
    return "application-abort", suspect
end

--- Notes a FIN that was in flight (R6) when its receiver sent an RST: what that left unread was a farewell (D5).
local function note_fin_in_flight(connection, segment)
    local trace, closer = connection.trace, connection[segment.peer]
    local fin_seq = (segment.seq + segment.length) % MODULUS
    if trace.reset_kind == "reset-with-unread-data" and connection.attempt.reset_by == segment.peer
        and fin_counts(closer, connection[segment.sender]) and closer.acknowledged
        and distance(fin_seq, closer.acknowledged) <= FAREWELL then
        trace.reset_kind, trace.reset_suspect = "reset-after-close", nil
    end
end

--- Notes an RST after its own rule (D4, D5).
-- @param reset_before whether the attempt was reset before
-- @param was_fresh, was_gone whether the connection was fresh and the sender gone before
local function note_rst(connection, segment, reset_before, was_fresh, was_gone)
    local trace = connection.trace
    local own = trace[segment.sender]
    trace.is_calm = false
    if both_closed(connection) then
        trace.closing_rst, trace.marked = segment.frame, segment.frame
    else
        own.doubtful_rst, own.doubtful_time, own.doubtful_seq = segment.frame, segment.time, segment.seq
        own.doubtful_hop_limit = hop_limit_of(segment)
    end
    local former = trace.former_reset
    if connection.attempt.reset_by and not reset_before and former and was_gone and former.index == segment.sender then
        trace.reset_kind, trace.reset_suspect, trace.reset_frame = former.kind, former.suspect, former.frame
        trace.reset_hop_limit = former.hop_limit
        trace.former_reset = nil
    elseif connection.attempt.reset_by and not reset_before then
        trace.former_reset = nil
        trace.reset_kind, trace.reset_suspect = class_of(connection, segment, was_fresh)
        trace.reset_frame, trace.marked = segment.frame, segment.frame
        trace.reset_hop_limit = hop_limit_of(segment)
        if trace.injected_rst == own.wild_rst and (own.guesses or 0) < 2 and not injected_suspect(trace) then -- D4
            trace.injected_rst = nil
        end
    end
end

--- Notes that an end has not gone, or not for good: its next RST says something new (D5).
local function revive(connection, index)
    connection[index].gone = false
    local trace = connection.trace
    local former = trace.former_reset
    if former and former.index == index then
        trace.former_reset = nil
    end
end

--- Notes that the attempt was not reset after all (D5, R6, X4).
-- @param index of the end that had reset it
local function forget_reset(connection, index)
    local trace = connection.trace
    if trace.reset_kind == "injected-reset" then -- D4
        note_injected(trace, trace.reset_frame, index, trace.reset_hop_limit)
    end
    trace.former_reset = connection[index].gone and {
        index = index, kind = trace.reset_kind, frame = trace.reset_frame, suspect = trace.reset_suspect,
        hop_limit = trace.reset_hop_limit,
    } or nil
    trace.reset_kind, trace.reset_frame, trace.reset_suspect, trace.reset_hop_limit = nil, nil, nil, nil
end

--- Notes what the opening waited for (D6).
local function note_delay(trace, kind, frame)
    trace.delay_kind, trace.delay_frame, trace.is_inferred, trace.marked = kind, frame, false, frame
end

--- Notes a SYN that is repeated by H3, before what follows from it (D6, rows 1 to 3).
local function note_repeated_syn(connection, segment)
    local sender, peer = connection[segment.sender], connection[segment.peer]
    if sender.spoke or not is_more(segment, segment.time, sender.syn_frame_time, NOTICEABLE) then
        return
    elseif connection.attempt.invalid_answer or sender.phase == ESTABLISHED and not sender.syn_ack_seen
        and not peer.syn_ack_seen then -- H3 takes the opening back
        note_delay(connection.trace, "invalid-answer", segment.frame)
    elseif not peer.syn_ack_seen then
        note_delay(connection.trace, "syn-lost", segment.frame)
    elseif is_more(segment, segment.time, peer.syn_ack_frame_time, NOTICEABLE) then
        note_delay(connection.trace, "syn-ack-lost", segment.frame)
    end
end

--- Notes a SYN-ACK that was not sent before (H8.3, H8.4) and answers its peer's SYN (D6, row 4): another transmission
-- than the latest shows that the server got the SYN, and its answer was late or lost.
local function note_answer(connection, segment)
    local trace, peer = connection.trace, connection[segment.peer]
    if trace.delay_kind == "syn-lost" and segment.responds_to and segment.responds_to ~= peer.syn_frame then
        trace.delay_kind, trace.is_inferred = "syn-ack-lost", true
    end
end

--- Returns the time of a response (C9) in nanoseconds, or nil.
local function response_of(clock, answer_time, answered_time)
    local elapsed = clock.subtract(answer_time, answered_time)
    return elapsed ~= nil and clock.nanoseconds(elapsed) or nil
end

--- Notes an acceptable SYN-ACK that is repeated by H8.1, before it is remembered (D6, rows 5 and 6).
local function note_repeated_syn_ack(connection, segment)
    local trace, sender, peer = connection.trace, connection[segment.sender], connection[segment.peer]
    if sender.spoke or not is_more(segment, segment.time, sender.syn_ack_frame_time, NOTICEABLE) then
        return
    elseif trace.third_step_time ~= nil then
        local times = connection.times
        local response = response_of(segment, times.server_answer, times.server_answered)
        if is_more(segment, segment.time, trace.third_step_time, max(NOTICEABLE, response or 0)) then
            note_delay(trace, "third-step-ignored", segment.frame)
        end
    elseif trace.delay_kind ~= "syn-ack-lost" and (not peer.syn_frame or peer.syn_frame < sender.syn_ack_frame) then
        note_delay(trace, "third-step-lost", segment.frame)
    end
end

--- Notes a segment that sets invalid_answer (X), or whose acknowledgement is rejected (H9).
-- @param is_old true by H9.1: its sender holds an old connection
local function note_invalid_answer(connection, segment, is_old)
    local trace = connection.trace
    trace.invalid_frame, trace.marked = segment.frame, segment.frame
    if is_old then
        trace.old_answer = segment.frame
    end
end

-- D7: the codes of "destination unreachable" that a filter sends, by its type: 3 of ICMP, 1 of ICMPv6; and the code of
-- "host unreachable" or "address unreachable", whose sender misses the server's host.
local FILTERED = {
    [3] = { [3] = true, [9] = true, [10] = true, [13] = true },
    [1] = { [1] = true, [4] = true, [5] = true, [6] = true },
}
local NO_HOST = { [3] = 1, [1] = 3 }

--- Notes what a network error says that answers the client's SYN (D7).
-- @param kind type of "destination unreachable" if the error is one, else nil
-- @param code of the message
-- @param source address that has sent it
local function note_error(connection, frame, kind, code, source)
    local trace, is_filtered = connection.trace, FILTERED[kind] and FILTERED[kind][code]
    trace.error_frame, trace.marked = frame, frame
    trace.error_kind = is_filtered and "filtered" or "host-unreachable"
    if is_filtered and source == connection.addresses[3 - connection.client] then
        trace.error_suspect = "server"
    elseif not is_filtered and kind and NO_HOST[kind] == code then
        trace.error_suspect = nil
    else
        trace.error_suspect = "path-to-server"
    end
end

-- ---------------------------------------------------------------------------------------------------- The diagnosis

--- Returns the latest time of the capture so far in seconds.
local function latest_of(clock)
    return clock.latest_of and max(clock.latest, clock.latest_of()) or clock.latest
end

--- Returns whether a time lies a long time before the end of the capture, so far (C17). If not, verdict_of asks again
-- when it does.
local function is_long_ago(connection, time)
    local clock = connection.clock
    local seconds = time ~= nil and clock.seconds_of(time)
    if not seconds or latest_of(clock) - seconds >= LONG_SECONDS then
        return time ~= nil
    end
    connection.waits_since = min(connection.waits_since or seconds, seconds)
    return false
end

--- Returns the diagnosis of a handshake that was slow (D8): slow-server, slow-client, slow-path, or nil.
local function slowness_of(connection)
    local clock, handshake_time = connection.clock, connection.handshake_time
    local total = handshake_time ~= nil and clock.nanoseconds(handshake_time) or 0
    if total < SLOW then
        return nil
    end
    local times = connection.times
    local server = response_of(clock, times.server_answer, times.server_answered)
    local client = response_of(clock, times.client_answer, times.client_answered)
    if not (server and client and times.handshake_frame) then
        return nil
    elseif 5 * server >= 4 * total then
        return "slow-server"
    end
    return 5 * client >= 4 * total and "slow-client" or "slow-path"
end

--- Returns the index of the end that has not closed, if the close is not finished (D8), or nil.
local function unfinished_end(connection)
    if connection.attempt.reset_by then
        return nil
    end
    for index = 1, 2 do
        local this_end, peer = connection[index], connection[3 - index]
        if fin_counts(this_end, peer) and not fin_counts(peer, this_end) and this_end.fin_acked
            and not went_on(peer, this_end) and not this_end.early_ack
            and was_open(connection, 3 - index)
            and is_long_ago(connection, this_end.fin_first_time) then
            return 3 - index
        end
    end
    return nil
end

--- Returns the diagnosis of an attempt that was not opened (D8, as far as establishment decides), or nil.
-- @return diagnosis, suspect, evidence
local function failure_of(connection)
    local trace, client = connection.trace, connection[connection.client]
    local establishment = establishment_of(connection)
    if trace.old_answer and (establishment == "unanswered" or establishment == "invalid-answer") then
        return "old-connection-held", nil, trace.old_answer
    elseif establishment == "unanswered" then
        local is_waiting = client.state == SYN_SENT and not is_long_ago(connection, client.syn_frame_time) -- C23
        return is_waiting and "still-open" or "server-silent", nil, client.syn_frame
    elseif establishment == "unreachable" then
        return trace.error_kind, trace.error_suspect, trace.error_frame
    elseif establishment == "refused" then
        if trace.injected_rst then
            return "filtered", injected_suspect(trace), trace.reset_frame
        elseif trace.reset_kind == "injected-reset" then
            return "filtered", trace.reset_suspect, trace.reset_frame
        end
        return "port-closed", nil, trace.reset_frame
    elseif establishment == "invalid-answer" then
        return "invalid-answer", nil, trace.invalid_frame
    end
    return nil, nil, nil
end

--- Returns the suspect of a delay (D8), or nil.
local function suspect_of_delay(connection)
    local trace = connection.trace
    local is_lost_answer = trace.delay_kind == "syn-ack-lost" and not trace.is_inferred
    return is_lost_answer and connection.attempt.opened and "path-to-client" or nil
end

--- Returns the suspect if the capture has the segments of one end only (D8): the capture, if the other evidently spoke.
local function suspect_of_one_side(connection)
    local captured_end = connection.captured == 1 and 1 or 2
    local absent = connection[3 - captured_end]
    local has_moved = absent.next_sent and absent.first_seq and is_beyond(absent.next_sent, absent.first_seq)
    return (has_moved or establishment_of(connection) == "partial") and "capture" or nil
end

--- Returns the diagnosis of a connection that was ended by an RST, or whose peer vanished (D8), or nil.
-- @return diagnosis, suspect, evidence, and another frame of evidence before that
local function breakdown_of(connection)
    local trace, attempt = connection.trace, connection.attempt
    local server = connection[3 - connection.client]
    if trace.injected_rst then
        return "injected-reset", injected_suspect(trace), trace.injected_rst
    elseif trace.reset_kind and trace.reset_kind ~= "reset-after-close" and not attempt.close_complete then
        local suspect, before = trace.reset_suspect, nil
        if trace.reset_kind == "idle-timeout" then
            before = trace.silence_frame
        elseif trace.reset_kind == "invalid-answer" then
            before = trace.invalid_frame
        end
        if before == trace.reset_frame then
            before = nil
        end
        if type(suspect) == "number" then
            suspect = end_name(connection, suspect)
        end
        return trace.reset_kind, suspect, trace.reset_frame, before
    elseif establishment_of(connection) == "half-open" then
        if trace.delay_kind == "syn-ack-lost" then
            return "syn-ack-lost", suspect_of_delay(connection), trace.delay_frame
        elseif server.syn_ack_again
            or not trace.delay_kind and is_long_ago(connection, server.syn_ack_frame_time) then
            return "peer-vanished", nil, server.syn_ack_frame
        end
    end
    return nil, nil, nil
end

--- Returns the frame that shows that an end repeats in vain (D8), or nil.
local function vanishing_frame(connection)
    local trace, client = connection.trace, connection.client
    if trace.reset_kind == "peer-vanished" then
        return trace.reset_frame
    elseif connection.attempt.reset_by then
        return nil
    end
    for step = 0, 1 do
        local of_end = trace[step == 0 and client or 3 - client]
        if of_end.repeats >= 2 then
            return of_end.repeat_frame
        end
    end
    return nil
end

--- Returns the diagnosis of the latest attempt so far: the first row of D8 that fits.
-- @return diagnosis
-- @return suspect, or nil
-- @return the frame that shows it, or nil
-- @return another frame before that, or nil
local function diagnosis_of(connection)
    local trace = connection.trace
    local diagnosis, suspect, frame = failure_of(connection)
    if diagnosis then
        return diagnosis, suspect, frame, nil
    end
    local vanishing = vanishing_frame(connection)
    if vanishing then
        return "peer-vanished", nil, vanishing
    elseif connection.captured ~= 3 and trace.reset_kind ~= "port-closed" then -- C18
        return "one-sided", suspect_of_one_side(connection), nil
    end
    local before
    diagnosis, suspect, frame, before = breakdown_of(connection)
    if diagnosis then
        return diagnosis, suspect, frame, before
    end
    local unfinished = unfinished_end(connection)
    if unfinished then
        return "close-not-finished", end_name(connection, unfinished), connection[3 - unfinished].fin_frame
    elseif trace.old_answer then
        return "old-connection-held", nil, trace.old_answer
    elseif trace.delay_kind then
        return trace.delay_kind, suspect_of_delay(connection), trace.delay_frame
    end
    local slowness = slowness_of(connection)
    if slowness then
        return slowness, nil, connection.times.handshake_frame
    elseif trace.reset_kind == "reset-after-close" then
        return "reset-after-close", nil, trace.reset_frame
    elseif trace.closing_rst then
        return "reset-after-close", nil, trace.closing_rst
    end
    return both_closed(connection) and "orderly" or "still-open", nil, nil
end

--- Returns the diagnosis of the latest attempt so far. It is worked out again only after another segment of the
-- connection, which sets connection.verdict to nil, or if a long time has passed meanwhile. What quiet segments
-- acknowledge counts where only one end was captured (D8): there it is always worked out.
-- @return a table with diagnosis, and suspect, frame and before where there are any
local function verdict_of(connection)
    local clock, verdict, since = connection.clock, connection.verdict, connection.waits_since
    if not verdict or connection.captured ~= 3 or since and latest_of(clock) - since >= LONG_SECONDS then
        connection.waits_since, verdict = nil, {}
        verdict.diagnosis, verdict.suspect, verdict.frame, verdict.before = diagnosis_of(connection)
        connection.verdict = verdict
    end
    return verdict
end

--- Returns the frames of evidence as text, or nil.
local function evidence_text(verdict)
    local frame, before = verdict.frame, verdict.before
    return before and format("%d+%d", before, frame) or frame and format("%d", frame) or nil
end

return {
    new_trace = new_trace, note_hop_limit = note_hop_limit,
    note_arrival = note_arrival, note_acknowledged_fin = note_acknowledged_fin,
    note_transfer = note_transfer, note_life = note_life, note_rst = note_rst,
    note_wild_rst = note_wild_rst, note_challenge = note_challenge, note_late_syn_ack = note_late_syn_ack,
    note_missing = note_missing, revive = revive, note_fin_in_flight = note_fin_in_flight,
    note_old_answer = note_old_answer,
    forget_reset = forget_reset, note_repeated_syn = note_repeated_syn, note_answer = note_answer,
    note_repeated_syn_ack = note_repeated_syn_ack, note_invalid_answer = note_invalid_answer, note_error = note_error,
    latest_of = latest_of, verdict_of = verdict_of, evidence_text = evidence_text,
}

end

-- ==== plugin/src/opening.lua
modules["opening"] = function()

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

end

-- ==== plugin/src/closing.lua
modules["closing"] = function()

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

end

-- ==== plugin/src/aborting.lua
modules["aborting"] = function()

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

end

-- ==== plugin/src/judge.lua
modules["judge"] = function()

-- Which rules judge a segment: by its kind (G7), by whether the connection is over (X4), whether it was captured before
-- (G8), and whether it belongs to an older connection (X7).
--
-- SPDX-License-Identifier: GPL-2.0-or-later

local vocabulary, state, numbers = require("vocabulary"), require("state"), require("numbers")
local notes, opening = require("notes"), require("opening")
local note_zeek_end = require("connection_row").note_zeek_end
local closing, aborting, diagnosis = require("closing"), require("aborting"), require("diagnosis")

local MODULUS, NEAR, MOMENT = vocabulary.MODULUS, vocabulary.NEAR, vocabulary.MOMENT
local TIMESTAMP, RECENT, FIRST_WINDOW = vocabulary.TIMESTAMP, vocabulary.RECENT, vocabulary.FIRST_WINDOW
local SYN_SENT, ESTABLISHED = vocabulary.SYN_SENT, vocabulary.ESTABLISHED
local INVALID, PLAIN, SYN, SYN_ACK = vocabulary.INVALID, vocabulary.PLAIN, vocabulary.SYN, vocabulary.SYN_ACK
local FIN, RST = vocabulary.FIN, vocabulary.RST
local TIME, SENDER, FLAGS, SEQ = vocabulary.TIME, vocabulary.SENDER, vocabulary.FLAGS, vocabulary.SEQ
local ACK, LENGTH, IDENTITY = vocabulary.ACK, vocabulary.LENGTH, vocabulary.IDENTITY
local distance, is_beyond, is_over, end_name = state.distance, state.is_beyond, state.is_over, state.end_name
local is_acceptable, derive_states = state.is_acceptable, state.derive_states
local is_new, is_wild, skip_missing = numbers.is_new, numbers.is_wild, numbers.skip_missing
local add_anomaly, explain = notes.add_anomaly, notes.explain
local judge_syn, judge_syn_ack, judge_opening = opening.judge_syn, opening.judge_syn_ack, opening.judge_opening
local judge_syn_ack_of_new_attempt = opening.judge_syn_ack_of_new_attempt
local judge_closing, judge_rst, judge_life = closing.judge_closing, aborting.judge_rst, aborting.judge_life
local take_back_reset = aborting.take_back_reset
local note_arrival, note_life, note_hop_limit = diagnosis.note_arrival, diagnosis.note_life, diagnosis.note_hop_limit
local note_old_answer, note_challenge = diagnosis.note_old_answer, diagnosis.note_challenge
local note_late_syn_ack, note_missing = diagnosis.note_late_syn_ack, diagnosis.note_missing

--- Settles who is the client at the first SYN or SYN-ACK (E1).
local function settle_client(connection, segment)
    if not connection.client_settled and (segment.kind == SYN or segment.kind == SYN_ACK) then
        connection.client = segment.kind == SYN and segment.sender or segment.peer
        connection.client_settled = true
    end
end

--- Returns whether a number lies near another, before or after it (X7).
local function is_near(a, b)
    local ahead = distance(a, b)
    return ahead < NEAR or ahead > MODULUS - NEAR
end

--- Judges whether a segment has the numbers of the former connection between the ends (X7). connection.former_1 and
-- former_2 are what its ends had sent when this one began; nil once this one is opened.
-- @return true if it has: nothing further of it counts
local function judge_old_connection(connection, segment)
    local own, other = connection.former_1, connection.former_2
    if segment.sender == 2 then
        own, other = other, own
    end
    local peer, has_ack = connection[segment.peer], segment.flags % 32 >= 16
    if not is_near(segment.seq, own)
        or has_ack and (not is_near(segment.ack, other)
            or peer.isn and is_acceptable(peer, segment.ack, FIRST_WINDOW)) then
        return false
    end
    local syn_and_fin = segment.flags % 2 + (segment.flags % 4 >= 2 and 1 or 0)
    local stop = (segment.seq + segment.length + syn_and_fin) % MODULUS
    if is_beyond(stop, own) then
        connection[segment.sender == 1 and "former_1" or "former_2"] = stop
    end
    segment.judged = false
    connection.is_mixed = true
    add_anomaly(segment, "old-connection")
    explain(segment, "has the numbers of an older connection between these ends")
    return true
end

--- Returns whether a plain or FIN segment is expected on a connection that is over (X4): it repeats its sender's FIN,
-- or neither sends nor acknowledges anything new.
local function is_expected(connection, segment)
    local sender = connection[segment.sender]
    local fin_seq = (segment.seq + segment.length) % MODULUS
    if segment.kind == FIN and sender.fin_seq == fin_seq and not connection.attempt.reset_by then
        return true
    end
    local stop = (fin_seq + (segment.kind == FIN and 1 or 0)) % MODULUS
    return sender.acknowledged ~= nil and not is_beyond(segment.ack, sender.acknowledged)
        and not is_new(sender, segment.seq, stop)
end

--- Returns whether a SYN-ACK on a connection that is over begins another attempt (X4).
local function is_new_syn_ack(connection, segment)
    local sender, peer = connection[segment.sender], connection[segment.peer]
    return connection.attempt.opened and segment.seq ~= sender.isn
        and not (peer.isn and is_acceptable(peer, segment.ack, peer.syn_length))
end

--- Returns whether a SYN-ACK on a connection that is over answers the SYN of an attempt that never opened (X4).
local function is_answer_after_end(connection, segment)
    local peer = connection[segment.peer]
    return not connection.attempt.opened and peer.phase == SYN_SENT
        and is_acceptable(peer, segment.ack, peer.syn_length)
end

--- Notes that a segment comes after the end of its connection (X4).
local function note_after_close(segment)
    segment.judged = false
    add_anomaly(segment, "segment-after-close")
end

--- Judges a SYN-ACK.
local function judge_any_syn_ack(connection, segment)
    local sender = connection[segment.sender]
    if segment.flags % 2 >= 1 then -- G7: with FIN, which is ignored
        add_anomaly(segment, "invalid-flags")
    end
    if is_over(connection) and sender.was_reset and segment.seq == sender.isn
        and not judge_life(connection, segment) then -- R6
        return
    end
    if not is_over(connection) then
        judge_syn_ack(connection, segment)
    elseif is_new_syn_ack(connection, segment) then
        judge_syn_ack_of_new_attempt(connection, segment)
    elseif is_answer_after_end(connection, segment) then
        note_late_syn_ack(connection, segment)
        judge_syn_ack(connection, segment)
        if not connection.attempt.refused then
            take_back_reset(connection)
        end
    else
        note_after_close(segment)
    end
end

--- Judges a plain or FIN segment.
local function judge_plain_or_fin(connection, segment)
    local sender, peer = connection[segment.sender], connection[segment.peer]
    if connection.fresh then -- H1
        sender.phase, peer.phase = ESTABLISHED, ESTABLISHED
        judge_closing(connection, segment)
        return
    end
    if (sender.gone or sender.was_reset) and not judge_life(connection, segment) then -- R6
        return
    end
    if is_over(connection) then -- X4
        note_life(connection, segment)
        if is_expected(connection, segment) then
            judge_closing(connection, segment)
        else
            note_after_close(segment)
        end
    elseif is_wild(sender, segment.seq) then -- F5
        peer.challenged = true
        add_anomaly(segment, "seq-mismatch")
        explain(segment, "has sequence number %.0f, which no window holds: the %s has sent up to %.0f", segment.seq,
            end_name(connection, segment.sender), sender.next_sent)
    else
        if skip_missing(sender, peer, segment.seq, segment.ack, segment.kind == FIN) then -- F6
            note_missing(connection)
            explain(segment, "comes after segments of both ends that were not captured")
        end
        note_life(connection, segment)
        if not judge_opening(connection, segment) then
            judge_closing(connection, segment)
        end
    end
end

--- Judges the answer of an end that got a segment which it must not accept (R7).
-- @param known what that end had acknowledged before
local function judge_challenged(connection, segment, known)
    connection[segment.sender].challenged = false
    if segment.kind == PLAIN and segment.length == 0 and not segment.role
        and not (known and is_beyond(segment.ack, known)) then
        add_anomaly(segment, "challenge-ack")
        note_challenge(connection, segment)
        explain(segment, "answers a segment that the %s must not accept", segment.sender_name)
    end
end

--- Judges a segment by all rules but G8.
-- @param connection the record of its connection, which changes
-- @param segment the notes on it (notes.lua), which are added to
local function judge(connection, segment)
    local kind = segment.kind
    if connection.closed_by_error then -- N3: a segment of any kind
        connection.closed_by_error = false
        connection[connection.client].phase = SYN_SENT
        derive_states(connection)
    end
    if kind == INVALID then -- G7
        segment.judged = false
        note_zeek_end(connection, segment)
        add_anomaly(segment, "invalid-flags")
        return
    end
    settle_client(connection, segment)
    if segment.explanations then
        segment.sender_name = end_name(connection, segment.sender)
        segment.peer_name = end_name(connection, segment.peer)
    end
    if connection.former_1 and kind ~= SYN and kind ~= SYN_ACK and judge_old_connection(connection, segment) then
        note_old_answer(connection, segment)
        return
    end
    note_zeek_end(connection, segment)
    note_arrival(connection, segment)
    local sender = connection[segment.sender]
    local was_challenged, known = sender.challenged, sender.acknowledged
    if kind == RST then
        if segment.flags % 4 >= 1 then -- G7: with SYN or FIN
            add_anomaly(segment, "invalid-flags")
        end
        judge_rst(connection, segment)
    elseif kind == SYN then
        judge_syn(connection, segment)
    elseif kind == SYN_ACK then
        judge_any_syn_ack(connection, segment)
    else
        judge_plain_or_fin(connection, segment)
    end
    if was_challenged and segment.judged then -- R7
        judge_challenged(connection, segment, known)
    end
    if segment.role and kind ~= RST then -- D1
        note_hop_limit(connection.trace, segment.sender, segment.hop_limit)
    end
    if segment.length > 0 and (segment.role == SYN or segment.role == SYN_ACK) then -- A1
        add_anomaly(segment, "syn-with-data")
    end
    connection.fresh = false
    derive_states(connection)
end

-- ----------------------------------------------------------------------------------------------- G8. Captured twice

--- Returns whether a segment was captured before (G8).
-- @param entry what is kept of the segment
-- @param segment the notes on it, for its kind and the reckoning of times
local function is_duplicate(connection, entry, segment)
    local recent, identity = connection.recent[entry[SENDER]], entry[IDENTITY]
    if not (recent and identity) then
        return false
    end
    local tells = segment.kind == SYN or segment.kind == FIN
    if not connection.had_duplicate and (identity == 0 or (identity >= TIMESTAMP and not tells)) then
        return false
    end
    for index = 1, #recent do
        local other = recent[index]
        if other[IDENTITY] == identity and other[FLAGS] == entry[FLAGS] and other[SEQ] == entry[SEQ]
            and other[ACK] == entry[ACK] and other[LENGTH] == entry[LENGTH] then
            local elapsed = segment.subtract(entry[TIME], other[TIME])
            if elapsed ~= nil and segment.nanoseconds(elapsed) <= MOMENT then
                return true
            end
        end
    end
    return false
end

--- Remembers a segment with a role, or one in flight, among its sender's recent ones. A judged one without a role
-- clears them (X, G8).
local function note_recent(connection, segment, entry)
    local recent = connection.recent[segment.sender]
    if not segment.role and not segment.in_flight then
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

end

-- ==== plugin/src/annotations.lua
modules["annotations"] = function()

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
        sender.awaiting, sender.fin_seq, sender.challenged, sender.gone, sender.was_reset, connection.attempt.reset_by,
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

end

-- ==== plugin/src/usual.lua
modules["usual"] = function()

-- Usual conversations: opened by a SYN, a SYN-ACK and the third step, then plain segments, closed by two FINs, with
-- nothing but the SYN repeated, nothing lost or in the wrong order; or refused by an RST. No other RST and no silence
-- (D3) comes, nothing is repeated after a pause (D2), and the handshake is not slow (D8).
--
-- Most connections are such. Of them the tracker (annotator) keeps a few numbers instead of the record, and step() says
-- of each segment that has a role which one the rules give it. As soon as a segment is not the next one of a usual
-- conversation, or somebody asks for the record or an annotation, the tracker judges the connection from its log.
--
-- Each condition below is there because a rule would do something else without it. If you make a rule depend on
-- something new, see that step() asks for it. In every usual conversation end 1 is the client and has sent the SYN, and
-- there is no former connection (A2, X7). Nothing is a duplicate (G8): but for SYNs, a segment with a role differs in
-- flags or acknowledgement number from those with a role that its sender sent before. in_order of each end is its
-- next_sent (F).
--
-- The trace (D) follows from the log and what moved_numbers returns. The expert information on a diagnosis, which a new
-- frame can get, needs the record: so an RST and a slow handshake are not usual. A refusal has the same diagnosis
-- always (D8): without a SYN-ACK there is no hop limit that its own could differ from (D1).
--
-- SPDX-License-Identifier: GPL-2.0-or-later

local vocabulary = require("vocabulary")

local find = string.find
local MODULUS, HALF, LARGEST_WINDOW = vocabulary.MODULUS, vocabulary.HALF, vocabulary.LARGEST_WINDOW
local LONG_SECONDS, MOMENT_SECONDS = vocabulary.LONG_SECONDS, vocabulary.MOMENT_SECONDS
local SYN, SYN_ACK, FIN, RST = vocabulary.SYN, vocabulary.SYN_ACK, vocabulary.FIN, vocabulary.RST
local HANDSHAKE_ACK, ACK_OF_FIN = vocabulary.HANDSHAKE_ACK, vocabulary.ACK_OF_FIN
local SENDER, FLAGS, SEQ, ACK = vocabulary.SENDER, vocabulary.FLAGS, vocabulary.SEQ, vocabulary.ACK
local LENGTH, OFFER, IDENTITY = vocabulary.LENGTH, vocabulary.OFFER, vocabulary.IDENTITY

-- Places in the numbers of a usual conversation. At the index of an end is its next_sent (F). At that plus these are
-- its acknowledged (F), whether it has sent a quiet segment without or with payload, its port, and its isn.
local ACKNOWLEDGED, QUIET_ACK, QUIET_PAYLOAD, PORT, ISN = 2, 4, 6, 8, 10
-- How far it is, the index of the end that sent the first FIN, and where in the log the third step is.
local STAGE, CLOSER, THIRD_STEP = 13, 14, 15
-- D: the time of the first SYN and the latest time of a segment in seconds, the end that sent the first payload and
-- that which sent the latest, and the hop limit of the second end's first plain segment if it is quiet; each false if
-- there is none.
local FIRST_TIME, LATEST_TIME, FIRST_TALKER, TALKER, HOP_LIMIT = 16, 17, 18, 19, 20
-- D8: a handshake that took less is not slow, in seconds that a float counts.
local SLOW_SECONDS = 0.9999995

-- What the conversation waits for: the values of STAGE.
local FOR_SYN_ACK, FOR_THIRD_STEP, FOR_FIN, FOR_ACK_OF_FIN = 1, 2, 3, 4
local FOR_SECOND_FIN, FOR_LAST_ACK, FOR_NOTHING = 5, 6, 7

-- The flags FIN, SYN, RST and ACK of the segments.
local IS_SYN = { [2] = true, [10] = true } -- with and without PSH
local IS_SYN_ACK = { [18] = true, [26] = true }
local IS_PLAIN = { [16] = true, [24] = true }
local IS_FIN = { [17] = true, [25] = true }

-- The notes on a segment (notes.lua) that the rules would make.
local NOTES_OF_SYN = { role = SYN, handshake_step = 1 }
local NOTES_OF_SECOND_SYN = { role = SYN, handshake_step = 1, anomaly = "syn-retransmission" }
local NOTES_OF_SYN_ACK = { role = SYN_ACK, handshake_step = 2 }
local NOTES_OF_THIRD_STEP = { role = HANDSHAKE_ACK, handshake_step = 3 } -- handshake_time is set for each
local NOTES_OF_FIN = { role = FIN, teardown_step = "1" }
local NOTES_OF_ACK_OF_FIN = { role = ACK_OF_FIN, teardown_step = "2" }
local NOTES_OF_BOTH = { role = ACK_OF_FIN .. "+" .. FIN, teardown_step = "2+3" }
local NOTES_OF_SECOND_FIN = { role = FIN, teardown_step = "3" }
local NOTES_OF_REFUSAL = { role = RST, anomaly = "connection-refused", diagnosis = "port-closed" }
local NOTES_OF_LAST_ACK = { role = ACK_OF_FIN, teardown_step = "4" }

-- Z1: the letters of the history, by the end.
local ACK_LETTERS, PAYLOAD_LETTERS, FIN_LETTERS = { "A", "a" }, { "D", "d" }, { "F", "f" }

--- Adds a letter to the history (Z1).
local function note_letter(connection, letter)
    if not find(connection.history_letters, letter, 1, true) then
        connection.history_letters = connection.history_letters .. letter
    end
end

--- Returns whether a segment begins a usual conversation, if there is no former connection between its ends.
local function begins(flags, length)
    return length == 0 and IS_SYN[flags % 32] or false
end

--- Returns the numbers of a conversation after its SYN.
-- @param ports of both ends
local function new_numbers(ports, seq)
    return {
        (seq + 1) % MODULUS, false, false, false, false, false, false, false, ports[1], ports[2], seq, false,
        FOR_SYN_ACK, false, false,
        false, false, false, false, false,
    }
end

--- Returns whether the next segment ends a silence (D3) or a slow handshake (D8), which is not usual.
-- @param seconds its time as a number, or nil
local function is_too_late(numbers, seconds)
    local latest = seconds and numbers[LATEST_TIME]
    return latest and (seconds - latest >= LONG_SECONDS
        or numbers[STAGE] == FOR_THIRD_STEP and seconds - numbers[FIRST_TIME] >= SLOW_SECONDS)
end

--- Notes the time of a segment.
-- @param seconds its time as a number, or nil
local function note_time(numbers, seconds)
    local latest = numbers[LATEST_TIME]
    if seconds and not (latest and seconds <= latest) then
        numbers[FIRST_TIME], numbers[LATEST_TIME] = numbers[FIRST_TIME] or seconds, seconds
    end
end

--- Notes the hop limit of a segment that follow has just followed (D1).
local function note_hop_limit(numbers, hop_limit)
    numbers[HOP_LIMIT] = hop_limit or false
end

--- Returns the latest time of a segment in seconds, or nil.
local function latest_time(numbers)
    return numbers[LATEST_TIME] or nil
end

--- Moves on a conversation by the first FIN.
local function close_first(connection, numbers, sender, seq, ack, length)
    local peer, fin_seq = 3 - sender, (seq + length) % MODULUS
    local stop, acknowledged = (fin_seq + 1) % MODULUS, numbers[ACKNOWLEDGED + sender]
    if (numbers[peer] - ack) % MODULUS > HALF -- T1: it acknowledges no more than its peer has sent
        or (ack - acknowledged) % MODULUS >= HALF
        or (numbers[ISN + peer] - ack) % MODULUS <= HALF -- T5: it is not older than the connection
        or (numbers[ACKNOWLEDGED + peer] - stop) % MODULUS <= HALF -- T5: it is not acknowledged yet
        or fin_seq == numbers[ISN + sender] then -- G8: its acknowledgement differs from that of the SYN
        return nil
    end
    numbers[sender], numbers[ACKNOWLEDGED + sender] = stop, ack
    numbers[STAGE], numbers[CLOSER] = FOR_ACK_OF_FIN, sender
    connection.is_quiet = false
    if length > 0 then
        note_letter(connection, PAYLOAD_LETTERS[sender])
    end
    note_letter(connection, FIN_LETTERS[sender])
    return NOTES_OF_FIN
end

--- Moves on a conversation by the second FIN.
-- @param notes on it
local function close_second(connection, numbers, sender, seq, ack, notes)
    local peer, stop = 3 - sender, (seq + 1) % MODULUS
    if (numbers[ISN + peer] - ack) % MODULUS <= HALF or (numbers[ACKNOWLEDGED + peer] - stop) % MODULUS <= HALF
        or seq == numbers[ISN + sender] then -- as in close_first
        return nil
    end
    numbers[sender], numbers[ACKNOWLEDGED + sender], numbers[STAGE] = stop, ack, FOR_LAST_ACK
    note_letter(connection, FIN_LETTERS[sender])
    return notes
end

--- Moves on a conversation by a segment with a role after the third step.
local function close(connection, numbers, sender, kind, seq, ack, length)
    local stage = numbers[STAGE]
    if seq ~= numbers[sender] or stage == FOR_NOTHING then
        return nil
    elseif stage == FOR_FIN then
        return IS_FIN[kind] and close_first(connection, numbers, sender, seq, ack, length) or nil
    elseif length > 0 or ack ~= numbers[3 - sender] or (sender == numbers[CLOSER]) ~= (stage == FOR_LAST_ACK) then
        return nil
    elseif IS_FIN[kind] and stage ~= FOR_LAST_ACK then
        return close_second(connection, numbers, sender, seq, ack,
            stage == FOR_ACK_OF_FIN and NOTES_OF_BOTH or NOTES_OF_SECOND_FIN)
    elseif IS_PLAIN[kind] and stage ~= FOR_SECOND_FIN then
        numbers[ACKNOWLEDGED + sender] = ack
        numbers[STAGE] = stage == FOR_LAST_ACK and FOR_NOTHING or FOR_SECOND_FIN
        note_letter(connection, ACK_LETTERS[sender])
        return stage == FOR_LAST_ACK and NOTES_OF_LAST_ACK or NOTES_OF_ACK_OF_FIN
    end
    return nil
end

--- Returns whether a SYN that comes again can be a duplicate (G8).
-- @param log the SYNs before it
-- @param offer, identity of it, as Tracker:take has them
local function can_be_duplicate(log, offer, identity)
    if not identity or identity == 0 then
        return type(offer) == "string" -- then the identity is not known yet
    end
    for index = 1, #log do
        if log[index][IDENTITY] == identity then
            return true
        end
    end
    return false
end

--- Moves on a conversation by a segment before the third step, or by that.
local function open(connection, numbers, sender, kind, seq, ack, length, offer, identity)
    if numbers[STAGE] == FOR_SYN_ACK then
        if sender == 1 then
            return seq == numbers[ISN + 1] and IS_SYN[kind] and length == 0 -- H3
                and not can_be_duplicate(connection.log, offer, identity) and NOTES_OF_SECOND_SYN or nil
        elseif ack ~= numbers[1] then
            return nil
        elseif IS_SYN_ACK[kind] and length == 0 then -- H8.3
            numbers[2], numbers[ACKNOWLEDGED + 2], numbers[STAGE] = (seq + 1) % MODULUS, ack, FOR_THIRD_STEP
            numbers[ISN + 2], connection.history_letters = seq, "Sh"
            return NOTES_OF_SYN_ACK
        elseif kind >= 16 and kind % 8 == 4 then -- R3
            numbers[STAGE], connection.history_letters = FOR_NOTHING, "Sr"
            return NOTES_OF_REFUSAL
        end
    elseif sender == 1 and seq == numbers[1] and IS_PLAIN[kind] and ack == numbers[2] then -- H9.2
        numbers[1], numbers[ACKNOWLEDGED + 1] = (seq + length) % MODULUS, ack
        numbers[STAGE], numbers[THIRD_STEP], connection.is_quiet = FOR_FIN, #connection.log + 1, true
        connection.history_letters = "ShA"
        if length > 0 then
            numbers[FIRST_TALKER], numbers[TALKER], connection.history_letters = 1, 1, "ShD"
        end
        return NOTES_OF_THIRD_STEP
    end
    return nil
end

--- Moves on a usual conversation by the next segment.
-- @param connection what is kept of it: its numbers are connection.usual
-- @param entry what is kept of the segment
-- @return the notes on the segment, which hold until the next one; nil if it is not the next one of a usual
--   conversation: then nothing has changed
local function step(connection, entry)
    local numbers = connection.usual
    local move = numbers[STAGE] < FOR_FIN and open or close
    return move(connection, numbers, entry[SENDER], entry[FLAGS] % 32, entry[SEQ], entry[ACK], entry[LENGTH],
        entry[OFFER], entry[IDENTITY])
end

--- Notes what a quiet segment changes beside numbers, as note_quiet_segment (annotations) does.
-- @param quiet the place in the numbers where it is noted
-- @return false if it can be the copy of the third step (G8), by its numbers, and was not noted
local function note_quiet(connection, numbers, sender, quiet, seq, ack, length)
    if sender == 1 and not (numbers[QUIET_ACK + 1] or numbers[QUIET_PAYLOAD + 1]) then
        local entry = connection.log[numbers[THIRD_STEP]]
        if entry[SEQ] == seq and entry[ACK] == ack and entry[LENGTH] == length then
            return false
        end
    end
    numbers[quiet] = true
    numbers[FIRST_TALKER] = numbers[FIRST_TALKER] or length > 0 and sender
    note_letter(connection, (length > 0 and PAYLOAD_LETTERS or ACK_LETTERS)[sender])
    return true
end

--- Follows a plain segment between the third step and the first FIN, as follow_quiet (numbers) does.
-- @return the index of its sender, or nil if it is not quiet, and was not followed
-- @return true if note_hop_limit is to be called
local function follow(connection, numbers, source_port, destination_port, seq, ack, length, seconds)
    local sender, peer = 1, 2
    if source_port ~= numbers[PORT + 1] then
        sender, peer = 2, 1
    end
    local port, peer_port = numbers[PORT + sender], numbers[PORT + peer]
    if source_port ~= port or destination_port ~= peer_port or port == peer_port then
        return nil
    end
    local repeated, peer_sent = (numbers[sender] - seq) % MODULUS, numbers[peer]
    if repeated >= LARGEST_WINDOW or ack ~= peer_sent and (ack - peer_sent) % MODULUS < HALF then
        return nil
    end
    local latest = numbers[LATEST_TIME]
    local pause = seconds and latest and seconds - latest or 0
    if pause >= MOMENT_SECONDS and (pause >= LONG_SECONDS -- D2, D3
        or repeated ~= 0 and length <= repeated and (length > 0 or repeated == 1)) then
        return nil
    end
    local quiet, is_first = (length > 0 and QUIET_PAYLOAD or QUIET_ACK) + sender, false
    if not numbers[quiet] then
        is_first = sender == 2 and not (numbers[QUIET_ACK + 2] or numbers[QUIET_PAYLOAD + 2])
        if not note_quiet(connection, numbers, sender, quiet, seq, ack, length) then
            return nil
        end
    end
    if pause > 0 then
        numbers[LATEST_TIME] = seconds
    end
    if (ack - numbers[ACKNOWLEDGED + sender]) % MODULUS < HALF then
        numbers[ACKNOWLEDGED + sender] = ack
    end
    if length > repeated then
        numbers[sender] = (seq + length) % MODULUS
    end
    if length > 0 then
        numbers[TALKER] = sender
    end
    connection.is_ahead = true
    return sender, is_first
end

--- Returns what quiet segments have changed, as numbers_of (annotations) does.
local function moved_numbers(connection)
    local numbers = connection.usual
    local one = numbers[QUIET_ACK + 1] or numbers[QUIET_PAYLOAD + 1]
    local two = numbers[QUIET_ACK + 2] or numbers[QUIET_PAYLOAD + 2]
    return {
        -1 - (1 + (one and 4 or 0) + (two and 2 + 8 or 0)),
        numbers[1], numbers[1], false, numbers[ACKNOWLEDGED + 1], false,
        numbers[2], numbers[2], false, numbers[ACKNOWLEDGED + 2], false,
        false, false,
        numbers[FIRST_TALKER], numbers[TALKER], numbers[HOP_LIMIT],
    }
end

return {
    is_too_late = is_too_late, note_time = note_time, note_hop_limit = note_hop_limit, latest_time = latest_time,
    begins = begins, new_numbers = new_numbers, step = step, follow = follow, moved_numbers = moved_numbers,
    NOTES_OF_SYN = NOTES_OF_SYN, NOTES_OF_SECOND_SYN = NOTES_OF_SECOND_SYN, NOTES_OF_THIRD_STEP = NOTES_OF_THIRD_STEP,
}

end

-- ==== plugin/src/annotator.lua
modules["annotator"] = function()

-- The Tracker: annotates the segments of a capture, one after the other and in their order (G6).
--
-- SPDX-License-Identifier: GPL-2.0-or-later

local vocabulary, state_rules, numbers = require("vocabulary"), require("state"), require("numbers")
local notes = require("notes")
local connection_row, judging, annotations = require("connection_row"), require("judge"), require("annotations")
local diagnosis, usual = require("diagnosis"), require("usual")

local format, max, tostring = string.format, math.max, tostring
local MODULUS, ORDINALS, KINDS = vocabulary.MODULUS, vocabulary.ORDINALS, vocabulary.KINDS
local CLOSED, LISTEN = vocabulary.CLOSED, vocabulary.LISTEN
local SYN_SENT, TIME_WAIT = vocabulary.SYN_SENT, vocabulary.TIME_WAIT
local SYN, SYN_ACK, PLAIN, INVALID = vocabulary.SYN, vocabulary.SYN_ACK, vocabulary.PLAIN, vocabulary.INVALID
local ORDINAL, FRAME, TIME, SENDER = vocabulary.ORDINAL, vocabulary.FRAME, vocabulary.TIME, vocabulary.SENDER
local FLAGS, SEQ, ACK = vocabulary.FLAGS, vocabulary.SEQ, vocabulary.ACK
local LENGTH, OFFER, IDENTITY = vocabulary.LENGTH, vocabulary.OFFER, vocabulary.IDENTITY
local HOP_LIMIT = vocabulary.HOP_LIMIT
local LONG_SECONDS, MOMENT_SECONDS = vocabulary.LONG_SECONDS, vocabulary.MOMENT_SECONDS
local new_end, new_attempt, is_simultaneous = state_rules.new_end, state_rules.new_attempt, state_rules.is_simultaneous
local is_over, derive_states = state_rules.is_over, state_rules.derive_states
local is_wild, skip_missing, follow_quiet = numbers.is_wild, numbers.skip_missing, numbers.follow_quiet
local repeats, follow_sent, follow_ack = numbers.repeats, numbers.follow_sent, numbers.follow_ack
local add_anomaly, join_anomalies, with_unit = notes.add_anomaly, notes.join_anomalies, notes.with_unit
local note_history, summary_of = connection_row.note_history, connection_row.summary_of
local judge, is_duplicate, note_recent = judging.judge, judging.is_duplicate, judging.note_recent
local situation_of, quiet_annotation = annotations.situation_of, annotations.quiet_annotation
local annotation_of, note_quiet = annotations.annotation_of, annotations.note_quiet
local note_quiet_segment = annotations.note_quiet_segment
local NOTED_ACK, NOTED_PAYLOAD = annotations.NOTED_ACK, annotations.NOTED_PAYLOAD
local expected_anomaly, marks_of = annotations.expected_anomaly, annotations.marks_of
local numbers_of, restore_numbers = annotations.numbers_of, annotations.restore_numbers
local last_up_to = annotations.last_up_to
local new_trace, note_error, note_hop_limit = diagnosis.new_trace, diagnosis.note_error, diagnosis.note_hop_limit
local note_missing = diagnosis.note_missing
local begins, new_numbers, step, follow_usual = usual.begins, usual.new_numbers, usual.step, usual.follow
local moved_numbers, note_time, latest_time_of = usual.moved_numbers, usual.note_time, usual.latest_time
local is_too_late, note_usual_hop_limit = usual.is_too_late, usual.note_hop_limit
local NOTES_OF_SYN, NOTES_OF_SECOND_SYN = usual.NOTES_OF_SYN, usual.NOTES_OF_SECOND_SYN
local NOTES_OF_THIRD_STEP = usual.NOTES_OF_THIRD_STEP

--- Annotates the segments of a capture. Interface:
--
--   local tracker = new(subtract, nanoseconds, latest_of, read_options)
--   tracker:segment(stream, frame, time, source, source_port, destination, destination_port,
--                   flags, seq, ack, length, offer, identity, hop_limit, seconds)   -> annotation
--   tracker:take(the same)                            -> notes on the segment: faster, where no annotation is needed
--   tracker:follow(stream, source_port, destination_port, seq, ack, length, seconds)
--                                                     -> index of its sender if a plain segment was quiet: it needs no
--                                                     more than this; and true if it tells its sender's hop limit:
--   tracker:note_hop_limit(stream, sender, hop_limit)
--   tracker:followed(stream, sender, length)          -> annotation of the segment just followed, and connection
--   tracker:recall(stream, frame, ordinal, source, source_port, flags, seq, length)
--                                                     -> annotation and record of the connection, or nil
--   tracker:network_error(frame, time, source, source_port, destination, destination_port, stream, kind, code,
--                         origin)
--                                                     -> annotation, or nil if the error has no effect
--   tracker:connection(stream)                        -> summary, or nil
--
-- Addresses are any values with an `==`, and with a tostring that is the same for equal ones. They may be nil where
-- Tracker:needs_addresses returns false. Times are any values that subtract takes. The offer is nil if the options are
-- not known, else a table with mss, window_scale (numbers or nil), sack_permitted, timestamps (true or not), fast_open
-- (a string or nil), tsval, tsecr (the numbers of the timestamp option, or nil). The identity is that of G8, or nil.
-- Instead of an offer the tracker takes a string: it calls read_options with that, the flags and the identity, which
-- returns both, only if it needs them.
--
-- An annotation is a read-only table: sender, client_state, server_state, and where they apply role, teardown_step,
-- anomaly (strings joined with "+"), handshake_step, retransmission (true), responds_to, response_time,
-- handshake_time, retransmission_delay, teardown_time, explanation; on a SYN or SYN-ACK also mss, window_scale,
-- fast_open (its sender's) and, once they are settled (C13), sack_permitted, timestamps and ecn (none, rfc3168 or
-- accecn); with a teardown_step also is_simultaneous_close (true), if it is known to be one by then; after the first
-- pass, answered_in. The annotation of a network error has stream and no sender.
--
-- A summary is a read-only table of the values at the moment: establishment, termination, closed_by, reset_by (or
-- nil), conn_state, history (or nil), handshake_time, teardown_time, anomalies (or nil), client_state, server_state,
-- client, client_port, server, server_port, diagnosis, suspect (or nil), evidence (a string, or nil).
local Tracker = {}
Tracker.__index = Tracker

--- Returns a new tracker.
-- @tparam ?function subtract function (later, earlier) that subtracts times; without it they are plain numbers
-- @tparam ?function nanoseconds function (duration) that returns a duration as a number of nanoseconds; without it it
--   is one
-- @tparam ?function latest_of function that returns the latest time of the segments that were given with seconds
-- @tparam ?function read_options function (string, flags, identity) that returns the offer and the identity
-- @treturn Tracker
local function new(subtract, nanoseconds, latest_of, read_options)
    local minus = subtract or function(later, earlier)
        return later - earlier
    end
    -- Where the capture lacks one of the two times, there is no difference.
    local function elapsed(later, earlier)
        if later ~= nil and earlier ~= nil then
            return minus(later, earlier)
        end
        return nil
    end
    nanoseconds = nanoseconds or function(duration)
        return duration
    end
    return setmetatable({
        subtract = elapsed, read_options = read_options,
        connections = {}, -- stream -> connection
        latest = {}, -- key of two ends -> their latest connection
        errors = {}, -- frame -> annotation of a network error with an effect
        current = { subtract = elapsed, nanoseconds = nanoseconds }, -- notes on the latest segment
        -- D: the latest time seen so far in seconds, and how to calculate with times
        clock = {
            latest = -math.huge, latest_of = latest_of, subtract = elapsed, nanoseconds = nanoseconds,
            seconds_of = function(time)
                return nanoseconds(time) / 1000000000
            end,
        },
    }, Tracker)
end

--- Returns whether a connection has these addresses, in either direction.
local function has_addresses(connection, one, other)
    local addresses = connection.addresses
    return (addresses[1] == one and addresses[2] == other) or (addresses[1] == other and addresses[2] == one)
end

--- Returns the key of the two ends of a connection, which is the same in either direction.
-- @tparam any source
-- @tparam number source_port
-- @tparam any destination
-- @tparam number destination_port
-- @treturn string
function Tracker:key_of_ends(source, source_port, destination, destination_port)
    local one, two = tostring(source), tostring(destination)
    if two < one or two == one and destination_port < source_port then
        one, source_port, two, destination_port = two, destination_port, one, source_port
    end
    local key = one .. " " .. source_port .. " " .. two .. " " .. destination_port
    -- Where Wireshark resolves names, different addresses can have one name.
    while self.latest[key] and not has_addresses(self.latest[key], source, destination) do
        key = key .. "+"
    end
    return key
end

--- Returns the record of a connection before its first segment.
-- @param former the former connection between the same two ends, or nil
-- @param addresses, ports lists of the two ends', first that of the end that sends the first segment (G5)
local function new_connection(stream, frame, former, addresses, ports)
    local client = ports[1] < ports[2] and 2 or 1 -- E2: the lower port is the server's
    return {
        stream = stream, first_frame = frame, former = former, -- G4, A2
        addresses = addresses, ports = ports, -- G5
        log = {},
        client = client, client_settled = false,
        fresh = true, is_begun = false, closed_by_error = false,
        is_quiet = false, -- note_quiet (annotations)
        is_ahead = false, -- have numbers moved since the last entry of the log?
        is_mixed = false, former_1 = nil, former_2 = nil, -- X7
        attempt = new_attempt(), trace = new_trace(), talker = nil, latest_time = nil, captured = nil, times = nil,
        recent = {}, had_duplicate = false, -- G8: recent by end, nil if there are none
        history_letters = "", -- Z1: as if the first end were the client
        anomalies = {}, handshake_time = nil, teardown_time = nil,
        new_end(client == 1 and CLOSED or LISTEN), new_end(client == 2 and CLOSED or LISTEN),
        -- clock: that of the tracker; talker: D, in no table of its own for the sake of quiet segments; captured: 1 or
        -- 2 if only that end has sent segments, else 3 (C18); latest_time: the latest time of a segment in seconds
        -- (D3); is_ipv6: have its segments IPv6 addresses (D1)? nil if not known yet; times: C9, of the
        -- server's and the client's answer its time, and the time of what it answers; with handshake_frame (D8)
        -- last_frame, last_ordinal; former_numbers (X7), what former_1 and former_2 are at first; after Tracker:review,
        -- instead of the log: keys, annotations, situations, situation, offers, answerable (annotations with a role by
        -- frame)
    }
end

--- Returns what is kept of a usual conversation before its first segment. Tracker:judge_again makes a record of it.
local function new_usual(stream, frame, addresses, ports, seq)
    return {
        stream = stream, first_frame = frame, addresses = addresses, ports = ports, log = {},
        usual = new_numbers(ports, seq), is_quiet = false, is_ahead = false, history_letters = "S",
        last_frame = nil, last_ordinal = nil,
    }
end

--- Begins a connection with its first segment.
-- @tparam number stream
-- @tparam number frame
-- @tparam any source
-- @tparam number source_port
-- @tparam any destination
-- @tparam number destination_port
-- @tparam ?number seq of the segment if it can begin a usual conversation of which no annotation is needed
-- @treturn table the record of the connection, or what is kept of a usual conversation
function Tracker:open(stream, frame, source, source_port, destination, destination_port, seq)
    local key = self:key_of_ends(source, source_port, destination, destination_port)
    local former, addresses, ports = self.latest[key], { source, destination }, { source_port, destination_port }
    local connection
    if former then
        self:settle(former)
    end
    if seq and not former then
        connection = new_usual(stream, frame, addresses, ports, seq)
    else
        connection = new_connection(stream, frame, former, addresses, ports)
        connection.clock = self.clock
    end
    self.latest[key] = connection
    self.connections[stream] = connection
    return connection
end

--- Returns the index of the end that sent a segment (G5).
local function sender_of(connection, source, source_port)
    local ports = connection.ports
    if source_port ~= ports[1] then
        return 2
    end
    return (source_port ~= ports[2] or source == connection.addresses[1]) and 1 or 2
end

--- Returns whether the addresses of a segment matter. Where a connection is known and its ports differ, the ports tell
-- its ends apart (G5).
-- @tparam number stream
-- @treturn boolean
function Tracker:needs_addresses(stream)
    local connection = self.connections[stream]
    return not connection or connection.ports[1] == connection.ports[2]
end

--- Returns the index of the end of a stream that sent a segment (G5).
-- @tparam number stream
-- @tparam any source
-- @tparam number source_port
-- @treturn number 1 or 2
function Tracker:sender(stream, source, source_port)
    return sender_of(self.connections[stream], source, source_port)
end

--- Returns the ordinal of the next segment among those of its connection in its frame (G2).
local function next_ordinal(connection, frame)
    local ordinal = 0
    if connection.last_frame == frame then
        ordinal = connection.last_ordinal + 1
    end
    connection.last_frame, connection.last_ordinal = frame, ordinal
    return ordinal
end

--- Notes the numbers of the former connection between the ends, if one of them still holds it (X7).
local function note_former(connection)
    local former = connection.former
    local one, two = former[1], former[2]
    local is_held = not is_over(former) or one.state == TIME_WAIT or two.state == TIME_WAIT
    if former.fresh or not is_held or not (one.next_sent and two.next_sent) then
        return
    end
    local is_same_way = former.ports[1] == connection.ports[1] and former.addresses[1] == connection.addresses[1]
    if is_same_way then
        connection.former_numbers = { one.next_sent, two.next_sent }
    else
        connection.former_numbers = { two.next_sent, one.next_sent }
    end
    connection.former_1, connection.former_2 = connection.former_numbers[1], connection.former_numbers[2]
end

--- Notes the times of a segment with a handshake step (C8, C9).
local function note_times(connection, segment)
    local times = connection.times
    if not times then
        times = { server_answer = nil, server_answered = nil, client_answer = nil, client_answered = nil }
        connection.times = times
    end
    if segment.handshake_time ~= nil and connection.handshake_time == nil then
        connection.handshake_time = segment.handshake_time
        if state_rules.distance(segment.seq, connection[segment.sender].isn) == 1 then
            times.handshake_frame = segment.frame
        end
    end
    if segment.answered_time == nil or segment.is_ambiguous or segment.time == nil then
        return
    elseif segment.sender ~= connection.client then
        if segment.handshake_step == 2 and times.server_answer == nil then
            times.server_answer, times.server_answered = segment.time, segment.answered_time
        end
    elseif segment.handshake_step == 3 and times.client_answer == nil then
        times.client_answer, times.client_answered = segment.time, segment.answered_time
    end
end

--- Judges the next segment of a connection.
-- @tparam table connection
-- @tparam table entry what is kept of the segment
-- @tparam boolean with_annotation true if the caller needs explanations and response times
-- @treturn table the notes on the segment, which hold until the next one is judged
function Tracker:judge(connection, entry, with_annotation)
    local segment, sender, kind = self.current, entry[SENDER], KINDS[entry[FLAGS] % 32]
    segment.frame, segment.time, segment.sender, segment.peer = entry[FRAME], entry[TIME], sender, 3 - sender
    segment.kind, segment.flags, segment.seq, segment.ack = kind, entry[FLAGS], entry[SEQ], entry[ACK]
    if type(entry[OFFER]) == "string" then
        entry[OFFER], entry[IDENTITY] = self.read_options(entry[OFFER], entry[FLAGS], entry[IDENTITY])
    end
    segment.length, segment.offer = entry[LENGTH], entry[OFFER]
    segment.role, segment.handshake_step, segment.teardown_step, segment.anomalies = nil, nil, nil, nil
    segment.responds_to, segment.response_time, segment.handshake_time, segment.teardown_time = nil, nil, nil, nil
    segment.answered_time, segment.retransmission_delay, segment.skips, segment.rejects = nil, nil, nil, nil
    segment.judged, segment.in_flight, segment.explanations = true, false, with_annotation and {} or nil
    if connection.former and not connection.is_begun and (kind == SYN or kind == SYN_ACK) then -- A2
        add_anomaly(segment, "port-reuse")
        if kind == SYN and not connection.is_reviewed then -- X7
            note_former(connection)
        end
    end
    connection.is_begun = true
    if is_duplicate(connection, entry, segment) then -- G8
        segment.judged, connection.had_duplicate = false, true
        add_anomaly(segment, "duplicate")
    else
        judge(connection, segment)
        note_history(connection, segment)
        note_recent(connection, segment, entry)
    end
    if segment.anomalies then
        for anomaly in pairs(segment.anomalies) do -- C16
            connection.anomalies[anomaly] = true
        end
    end
    if segment.handshake_step and segment.handshake_step > 1 then
        note_times(connection, segment)
    end
    connection.teardown_time = segment.teardown_time or connection.teardown_time -- C10
    segment.anomaly = join_anomalies(segment.anomalies)
    segment.is_simultaneous_close = segment.teardown_step and is_simultaneous(connection) or nil
    return segment
end

--- Adds an entry to the log, and before it the numbers, if segments that are not in the log have moved them.
local function keep_in_log(connection, entry)
    local log = connection.log
    if connection.is_ahead then
        log[#log + 1] = numbers_of(connection)
        connection.is_ahead = false
    end
    log[#log + 1] = entry
end

--- Judges a plain or invalid segment without an annotation, and logs it if it says something, or changes more than
-- numbers.
local function log_quiet(tracker, connection, entry, kind)
    local log, sender, before = connection.log, entry[SENDER], connection.is_ahead and numbers_of(connection)
    local was_mixed = connection.is_mixed
    local a, b, c, d, e, f, g, h, i, j, k, l, m, n, o = marks_of(connection, sender)
    local segment = tracker:judge(connection, entry, false)
    if #log > 0 and not segment.role and not segment.in_flight and connection.is_mixed == was_mixed
        and segment.anomaly == expected_anomaly(connection, sender, kind, entry[LENGTH]) then
        local p, q, r, s, t, u, v, w, x, y, z, aa, bb, cc, dd = marks_of(connection, sender)
        if a == p and b == q and c == r and d == s and e == t and f == u and g == v and h == w and i == x and j == y
            and k == z and l == aa and m == bb and n == cc and o == dd then
            connection.is_ahead = true
            connection.has_quiet_anomaly = connection.has_quiet_anomaly or segment.anomaly ~= nil
            return segment
        end
    end
    if before then
        log[#log + 1] = before
    end
    log[#log + 1] = entry
    connection.is_ahead = false
    return segment
end

--- Judges a segment without an annotation, and logs it if it changes or says something.
-- @tparam table connection
-- @tparam table entry what is kept of the segment
-- @treturn table the notes on the segment
function Tracker:log(connection, entry)
    local kind = KINDS[entry[FLAGS] % 32]
    if kind == PLAIN or kind == INVALID and entry[FLAGS] % 2 == 0 then -- one with FIN counts for Zeek (Z2)
        return log_quiet(self, connection, entry, kind)
    end
    keep_in_log(connection, entry)
    return self:judge(connection, entry, false)
end

--- Notes in the annotation of a segment which frame answers it first (C17).
-- @param answered the frame of the segment, or nil
-- @param frame that answers it
local function note_answer(connection, answered, frame)
    local annotation = answered and connection.answerable[answered]
    if annotation then
        annotation.answered_in = annotation.answered_in or frame
    end
end

--- Judges a segment, and keeps its annotation if it changes or says something.
-- @tparam table connection
-- @tparam table entry what is kept of the segment
-- @treturn table the annotation
function Tracker:annotate(connection, entry)
    local segment = self:judge(connection, entry, true)
    local former = connection.situation
    local situation = situation_of(connection)
    connection.situation = situation
    if situation == former and not segment.role then
        local prepared = quiet_annotation(situation, segment.sender, segment.kind, segment.length)
        if prepared.anomaly == segment.anomaly then
            connection.has_quiet_anomaly = connection.has_quiet_anomaly or prepared.anomaly ~= nil
            return prepared
        end
    end
    local annotation = annotation_of(connection, segment, situation)
    local index = #connection.keys + 1
    connection.keys[index] = entry[FRAME] * ORDINALS + entry[ORDINAL]
    connection.annotations[index] = annotation
    connection.situations[index] = situation
    if annotation.role then
        connection.answerable[entry[FRAME]] = annotation
        note_answer(connection, annotation.responds_to, entry[FRAME])
    end
    return annotation
end

--- Closes the client, because a network error answers its SYN (N2).
local function close_by_error(connection, frame)
    local client = connection[connection.client]
    client.phase = CLOSED
    derive_states(connection)
    connection.closed_by_error = true
    connection.attempt.unreachable = true
    connection.anomalies["unreachable"] = true
    if connection.log then
        keep_in_log(connection, frame)
    else
        note_answer(connection, client.syn_frame, frame)
    end
end

--- Judges a connection again from its log. What is kept of a usual conversation becomes its record.
-- @tparam table connection
-- @tparam function judge_entry the method that judges an entry: it gets the connection, the entry and false
function Tracker:judge_again(connection, judge_entry)
    local log, former = connection.log, connection.former_numbers
    local anomalies, history_letters = connection.anomalies, connection.history_letters
    local ahead = connection.is_ahead and (connection.usual and moved_numbers or numbers_of)(connection)
    local usual_numbers, trace, talker = connection.usual, connection.trace, connection.talker
    local blank = new_connection(connection.stream, connection.first_frame, connection.former, connection.addresses,
        connection.ports)
    for name, value in pairs(blank) do
        connection[name] = value
    end
    connection.log, connection.usual, connection.clock, connection.verdict = nil, nil, self.clock, nil
    connection.handshake_time, connection.teardown_time = nil, nil -- the first of these counts for R6
    if former then
        connection.former_1, connection.former_2 = former[1], former[2]
    end
    for index = 1, #log do
        local entry = log[index]
        if type(entry) ~= "table" then -- the frame of a network error
            close_by_error(connection, entry)
        elseif entry[1] < 0 then -- numbers_of
            restore_numbers(connection, entry)
        else
            if usual_numbers then
                self:tell_origin(connection, entry)
            end
            judge_entry(self, connection, entry, false)
        end
    end
    if ahead then
        restore_numbers(connection, ahead)
    end
    if usual_numbers then
        connection.latest_time = latest_time_of(usual_numbers)
    else -- no annotation depends on these, and the log lacks segments that have changed them (D)
        connection.trace, connection.talker = trace, talker
    end
    note_quiet(connection)
    -- The log lacks segments whose anomaly follows from the situation, and such as are only followed.
    connection.anomalies, connection.history_letters = anomalies or connection.anomalies, history_letters
end

--- Judges a connection again from its log, to get its annotations.
-- @tparam table connection
function Tracker:review(connection)
    connection.is_reviewed = #connection.log > 0
    connection.keys, connection.annotations, connection.situations, connection.offers = {}, {}, {}, {}
    connection.answerable = {}
    if connection.is_reviewed then
        self:judge_again(connection, self.annotate)
    else
        connection.log = nil -- it has had no segment yet
    end
end

--- Makes the record of a connection if it was a usual conversation so far.
-- @tparam table connection
function Tracker:settle(connection)
    if connection.usual then
        local log, is_ahead = connection.log, connection.is_ahead
        self:judge_again(connection, self.judge)
        connection.log, connection.is_ahead = log, is_ahead
    end
end

--- Takes the next segment of a usual conversation.
-- @tparam table connection
-- @tparam table entry what is kept of the segment
-- @tparam ?number seconds its time as a number
-- @treturn ?table the notes on the segment; nil if the conversation is not usual: then its record is made
function Tracker:take_usual(connection, entry, seconds)
    local log, segment, moved = connection.log, NOTES_OF_SYN, connection.is_ahead and moved_numbers(connection)
    if #log > 0 then
        segment = not is_too_late(connection.usual, seconds) and step(connection, entry)
        if segment == NOTES_OF_THIRD_STEP then
            segment.handshake_time = self.subtract(entry[TIME], log[1][TIME])
        elseif segment == NOTES_OF_SECOND_SYN and seconds
            and diagnosis.latest_of(self.clock) - seconds >= LONG_SECONDS then
            segment = nil -- in a capture out of order it can be the last of a silent server (D8)
        end
    end
    if not segment then
        self:settle(connection)
        return nil
    elseif moved then
        log[#log + 1] = moved
        connection.is_ahead = false
    end
    note_time(connection.usual, seconds)
    log[#log + 1] = entry
    return segment
end

--- Tells the tracker what the diagnosis needs of a segment that ends no pause (C18, D).
-- @tparam table connection
-- @tparam table entry what is kept of the segment
function Tracker:tell_origin(connection, entry)
    local segment, captured, sender = self.current, connection.captured, entry[SENDER]
    if captured ~= 3 and captured ~= sender then
        connection.captured = captured and 3 or sender
    end
    segment.hop_limit, segment.ends_silence, segment.ends_pause = entry[HOP_LIMIT], false, false
end

--- Tells the tracker what the diagnosis needs of the next segment of the capture.
-- @tparam table connection
-- @tparam table entry what is kept of the segment
-- @tparam ?number seconds its time as a number
function Tracker:tell(connection, entry, seconds)
    self:tell_origin(connection, entry)
    connection.verdict = nil
    if seconds then
        local segment, latest = self.current, connection.latest_time
        if not latest or seconds > latest then
            local pause = latest and seconds - latest or 0
            segment.ends_silence, segment.ends_pause = pause >= LONG_SECONDS, pause >= MOMENT_SECONDS
            connection.latest_time = seconds
        end
    end
end

--- Judges the next segment of the capture, where no annotation of it is needed.
-- @tparam number stream
-- @tparam number frame
-- @tparam any time
-- @tparam any source
-- @tparam number source_port
-- @tparam any destination
-- @tparam number destination_port
-- @tparam number flags
-- @tparam number seq
-- @tparam number ack
-- @tparam number length of its payload
-- @tparam ?table offer
-- @tparam ?number identity
-- @tparam ?number hop_limit
-- @tparam ?number seconds the time once more, as a number; worked out if nil. Who gives it has a latest_of (new)
-- @treturn table with role, handshake_step, teardown_step, is_simultaneous_close, anomaly and handshake_time as in an
--   annotation; it holds until the next segment is judged
function Tracker:take(stream, frame, time, source, source_port, destination, destination_port,
                      flags, seq, ack, length, offer, identity, hop_limit, seconds)
    local connection = self.connections[stream]
        or self:open(stream, frame, source, source_port, destination, destination_port, begins(flags, length) and seq)
    local sender, ordinal = sender_of(connection, source, source_port), next_ordinal(connection, frame)
    local entry = { ordinal, frame, time, sender, flags, seq, ack, length, offer, identity, hop_limit }
    if time == nil then
        seconds = nil
    elseif not seconds then
        seconds = self.clock.seconds_of(time)
        self.clock.latest = max(self.clock.latest, seconds)
    end
    local annotation = connection.usual and self:take_usual(connection, entry, seconds)
    if annotation then
        return annotation
    end
    self:tell(connection, entry, seconds)
    annotation = connection.log and self:log(connection, entry) or self:annotate(connection, entry)
    note_quiet(connection)
    return annotation
end

--- Returns whether a plain segment can be the copy of a recent one of its sender (G8), by its numbers.
-- @param recent the list of those
local function resembles_recent(recent, seq, ack, length)
    for index = 1, #recent do
        local other = recent[index]
        if other[SEQ] == seq and other[ACK] == ack and other[LENGTH] == length then
            return true
        end
    end
    return false
end

--- Follows a plain segment, the only one of its frame, if it is quiet: then nothing else is to be done with it.
-- @tparam table connection one that is quiet
-- @tparam number source_port
-- @tparam number destination_port
-- @tparam number seq
-- @tparam number ack
-- @tparam number length of its payload
-- @tparam ?number seconds its time as a number; 0 or nil if the capture lacks it. Who gives it has a latest_of (new)
-- @treturn ?number the index of the end that sent it if it was quiet, else nil
-- @treturn ?boolean true if it is the first to which T applies for that end: see Tracker:note_hop_limit
local function follow(connection, source_port, destination_port, seq, ack, length, seconds)
    local usual_numbers = connection.usual
    if usual_numbers then
        return follow_usual(connection, usual_numbers, source_port, destination_port, seq, ack, length, seconds)
    end
    local ports, index = connection.ports, 1
    local one, two = ports[1], ports[2]
    if source_port == two and destination_port == one and one ~= two then
        index = 2
    elseif source_port ~= one or destination_port ~= two or one == two then
        return nil
    end
    local sender, noted = connection[index], length > 0 and NOTED_PAYLOAD or NOTED_ACK
    local latest = connection.latest_time
    local pause = seconds and latest and seconds - latest or 0
    if pause >= MOMENT_SECONDS and (pause >= LONG_SECONDS -- D2, D3
        or repeats(sender, seq, (seq + length) % MODULUS)) then
        return nil
    end
    local is_first, spoke = not sender[noted], true
    if is_first then
        local recent = connection.recent[index]
        if not sender.is_known or recent and resembles_recent(recent, seq, ack, length) then
            return nil
        end
    end
    local peer = connection[3 - index]
    if not follow_quiet(sender, peer, seq, ack, length) then
        if is_wild(sender, seq) then
            return nil
        end
        if skip_missing(sender, peer, seq, ack, false) then
            note_missing(connection)
        end
        follow_ack(sender, peer, ack, follow_sent(sender, peer, seq, (seq + length) % MODULUS))
    end
    if is_first then
        spoke = sender.spoke
        note_quiet_segment(connection, index, noted)
    end
    connection.is_ahead = true
    if length > 0 then -- D
        connection.talker = index
    end
    if pause > 0 then
        connection.latest_time = seconds
    end
    return index, not spoke
end

--- Notes the hop limit of a segment that Tracker:follow has just followed (D1).
-- @tparam number stream
-- @tparam number sender the index of the end that sent it
-- @tparam ?number hop_limit
function Tracker:note_hop_limit(stream, sender, hop_limit)
    local connection = self.connections[stream]
    if connection.usual then
        note_usual_hop_limit(connection.usual, hop_limit)
    else
        note_hop_limit(connection.trace, sender, hop_limit)
    end
end

--- Follows a plain segment as follow does, by its stream.
-- @tparam number stream
-- @treturn as follow
function Tracker:follow(stream, ...)
    local connection = self.connections[stream]
    if connection and connection.is_quiet then
        return follow(connection, ...)
    end
    return nil
end

--- Returns the annotation of a segment that Tracker:follow has just followed.
-- @tparam number stream
-- @tparam number sender the index of the end that sent it
-- @tparam number length of its payload
-- @treturn table the annotation
-- @treturn table the record of the connection
function Tracker:followed(stream, sender, length)
    local connection = self.connections[stream]
    if connection.log then
        self:review(connection)
    end
    return quiet_annotation(connection.situation, sender, PLAIN, length), connection
end

--- Annotates the next segment of the capture. Parameters as of Tracker:take.
-- @treturn table the annotation
function Tracker:segment(stream, frame, time, source, source_port, destination, destination_port,
                         flags, seq, ack, length, offer, identity, hop_limit, seconds)
    local connection = self.connections[stream]
        or self:open(stream, frame, source, source_port, destination, destination_port)
    if connection.log then
        self:review(connection)
    end
    return self:take(stream, frame, time, source, source_port, destination, destination_port, flags, seq, ack, length,
        offer, identity, hop_limit, seconds)
end

--- Returns the record of the connection that a segment belonged to when it was new, ready to recall annotations.
-- @treturn ?table the record, or nil if the connection is not known
function Tracker:connection_at(stream, frame)
    local connection = self.connections[stream]
    -- When Wireshark dissects a segment again, it can put it into a later stream of the same ends.
    while connection and connection.first_frame > frame do
        connection = connection.former
    end
    if connection and connection.log then
        self:review(connection)
    end
    return connection
end

--- Returns whether a frame that was processed before has anything that is shown where no field is needed: a role, an
-- anomaly or evidence of the diagnosis, or a network error.
-- @tparam number stream the only one of the frame
-- @tparam number frame
-- @treturn boolean false if it certainly has not
function Tracker:is_marked(stream, frame)
    local connection = self:connection_at(stream, frame)
    if not connection or connection.has_quiet_anomaly or self.errors[frame] then
        return true
    end
    local key = connection.keys[last_up_to(connection.keys, (frame + 1) * ORDINALS - 1)]
    local verdict = diagnosis.verdict_of(connection)
    return key ~= nil and key >= frame * ORDINALS or verdict.frame == frame or verdict.before == frame
end

--- Returns the annotation of a segment that was judged before, or skipped because it was quiet.
-- @tparam number stream
-- @tparam number frame
-- @tparam number ordinal its place among the segments of its connection in its frame, from 0
-- @tparam any source
-- @tparam number source_port
-- @tparam number flags
-- @tparam number _ its sequence number, which does not matter
-- @tparam number length of its payload
-- @treturn ?table the annotation, or nil if the connection is not known
-- @treturn ?table the record of the connection
function Tracker:recall(stream, frame, ordinal, source, source_port, flags, _, length)
    local connection = self:connection_at(stream, frame)
    if not connection then
        return nil, nil
    end
    local key = frame * ORDINALS + ordinal
    local index = last_up_to(connection.keys, key)
    if connection.keys[index] == key then
        return connection.annotations[index], connection
    end
    local sender = sender_of(connection, source, source_port)
    return quiet_annotation(connection.situations[index], sender, KINDS[flags % 32], length), connection
end

--- Judges a network error (N1 to N3).
-- @tparam number frame
-- @tparam any time
-- @tparam any source the quoted sender
-- @tparam number source_port
-- @tparam any destination the quoted receiver
-- @tparam number destination_port
-- @tparam ?number stream the quoted tcp.stream
-- @tparam ?number kind type of "destination unreachable" of its protocol, if it is one (D7)
-- @tparam ?number code
-- @tparam ?any origin the address that has sent the error
-- @treturn ?table the annotation, or nil if the error has no effect
function Tracker:network_error(frame, time, source, source_port, destination, destination_port, stream, kind, code,
                               origin)
    local clock = self.clock
    if time ~= nil then
        clock.latest = max(clock.latest, clock.seconds_of(time))
    end
    local connection
    if stream then
        connection = self.connections[stream]
    else
        connection = self.latest[self:key_of_ends(source, source_port, destination, destination_port)]
    end
    if not connection then
        return nil
    end
    self:settle(connection)
    local client, server = connection[connection.client], connection[3 - connection.client]
    local is_from_client = source_port == connection.ports[connection.client]
        and source == connection.addresses[connection.client]
    local is_waiting = client.state == SYN_SENT and (server.state == LISTEN or server.state == CLOSED)
    if not (is_waiting and is_from_client) then
        return nil
    end
    close_by_error(connection, frame)
    note_error(connection, frame, kind, code, origin)
    connection.verdict = nil
    local annotation = {
        stream = connection.stream,
        client_state = client.state, server_state = server.state,
        anomaly = "unreachable",
        responds_to = client.syn_frame,
        response_time = not client.syn_again and self.subtract(time, client.syn_frame_time) or nil, -- H10
        explanation = with_unit(format("reports that the client's SYN with sequence number %.0f did not arrive",
            client.isn)),
    }
    self.errors[frame] = annotation
    return annotation
end

--- Returns the annotation of a network error that was judged before.
-- @tparam number frame
-- @treturn ?table the annotation, or nil if the error had no effect
function Tracker:recall_error(frame)
    return self.errors[frame]
end

--- Returns the record of a connection.
-- @tparam number stream
-- @treturn ?table the record, or nil if the connection is not known
function Tracker:record(stream)
    local connection = self.connections[stream]
    if connection then
        self:settle(connection)
    end
    return connection
end

--- Returns the summary of a connection at the moment (C17).
-- @tparam number stream
-- @treturn ?table the summary, or nil if the connection is not known
function Tracker:connection(stream)
    local connection = self:record(stream)
    if not connection then
        return nil
    end
    local summary, verdict = summary_of(connection), diagnosis.verdict_of(connection)
    summary.diagnosis, summary.suspect = verdict.diagnosis, verdict.suspect
    summary.evidence = diagnosis.evidence_text(verdict)
    return summary
end

return { new = new, follow = follow }

end

-- ==== plugin/src/wireshark/fields.lua
modules["wireshark.fields"] = function()

-- The protocol in Wireshark, with its preferences and its fields.
--
-- SPDX-License-Identifier: GPL-2.0-or-later

local proto = Proto("tcp_handshake", "TCP Handshake")

-- ------------------------------------------------------------------------------------------------------ Preferences

proto.prefs.info_notes = Pref.bool("Add notes to the Info column", true,
    "Put [Handshake 2/3], [Teardown 1/4], [Reset] and the like at the beginning of the Info column")
proto.prefs.explanations = Pref.bool("Explain the steps", true,
    "Add a line to the tree that explains the sequence and acknowledgement numbers of a step")
proto.prefs.slow_handshake = Pref.uint("Slow handshake (milliseconds)", 1000,
    "Add expert information to handshakes that take longer than this; 0 turns it off")

-- ----------------------------------------------------------------------------------------------------------- Fields

--- Returns a new field. Its constructors take different arguments between title and blurb.
-- @param name without "tcp_handshake."
-- @param kind name of the constructor
-- @param title, blurb what users read
local function new_field(name, kind, title, blurb)
    local constructor, abbreviation = ProtoField[kind], "tcp_handshake." .. name
    if kind == "string" then
        return constructor(abbreviation, title, nil, blurb)
    elseif kind == "relative_time" then
        return constructor(abbreviation, title, blurb)
    elseif kind == "framenum" then
        local direction = name == "responds_to" and frametype.REQUEST
            or name == "answered_in" and frametype.RESPONSE or frametype.NONE
        return constructor(abbreviation, title, base.NONE, direction, nil, blurb)
    end
    return constructor(abbreviation, title, kind == "bool" and base.NONE or base.DEC, nil, nil, blurb)
end

-- C17: the end of the blurb of a field whose value can still change.
local SO_FAR = "; in the first pass (one-pass tshark, live capture) for the capture so far, in the second pass "
    .. "(Wireshark, tshark -2) for the whole capture"
-- Name, kind, title and blurb of each field, in the order of the tree.
local FIELDS = {
    { "role", "string", "Role",
        "Role in opening or closing: SYN, SYN-ACK, HANDSHAKE-ACK, ACK-OF-FIN, FIN or RST" },
    { "handshake_step", "uint8", "Handshake step", "Step of the three-way handshake, 1 to 3" },
    { "teardown_step", "uint8", "Teardown step",
        "Step of the teardown, 1 to 4; in a simultaneous close 1 and 2 of each end" },
    { "explanation", "string", "Explanation", "Explains the sequence and acknowledgement numbers of the step" },
    { "responds_to", "framenum", "Responds to", "Frame of the SYN, SYN-ACK or FIN that this one answers" },
    { "answered_in", "framenum", "Answered in",
        "Frame that answers this SYN, SYN-ACK or FIN; known in the second pass (Wireshark, tshark -2)" },
    { "response_time", "relative_time", "Response time", "Time since the frame that this one answers" },
    { "handshake_time", "relative_time", "Handshake time",
        "Time from the first transmission of the SYN to the third step" },
    { "retransmission_delay", "relative_time", "Retransmission delay",
        "Part of the handshake time that went by in waiting for a repeated SYN or SYN-ACK" },
    { "teardown_time", "relative_time", "Teardown time",
        "Time from the first FIN to the acknowledgement of the last" },
    { "retransmission", "bool", "Retransmission", "The SYN, SYN-ACK or FIN was sent before" },
    { "anomaly", "string", "Anomaly", "What is unusual about the segment" },
    { "sender", "string", "Sender", "The end that sent the segment: client or server" },
    { "client_state", "string", "Client state after delivery",
        "State of the client by RFC 9293 once the segment was delivered" },
    { "server_state", "string", "Server state after delivery",
        "State of the server by RFC 9293 once the segment was delivered" },
    { "client_mss", "uint16", "Client's MSS", "Maximum segment size that the client offers" },
    { "client_window_scale", "uint8", "Client's window scale", "Window scale (shift) that the client offers" },
    { "server_mss", "uint16", "Server's MSS", "Maximum segment size that the server offers" },
    { "server_window_scale", "uint8", "Server's window scale", "Window scale (shift) that the server offers" },
    { "client_fast_open", "string", "Client's Fast Open cookie",
        "Fast Open cookie that the client presents, or request" },
    { "server_fast_open", "string", "Server's Fast Open cookie",
        "Fast Open cookie that the server grants, or request" },
    { "stream", "uint32", "Stream", "The tcp.stream of the connection that a network error is about" },
    { "establishment", "string", "Establishment",
        "How the latest attempt was opened: complete, partial, simultaneous, half-open, refused, invalid-answer ..."
        .. SO_FAR },
    { "termination", "string", "Termination",
        "How the latest attempt was closed: four-way, three-way, simultaneous, reset, half-closed ..." .. SO_FAR },
    { "closed_by", "string", "Closed by",
        "Who closed the latest attempt first: client, server or both" .. SO_FAR },
    { "reset_by", "string", "Reset by",
        "Whose reset ended the latest attempt: client or server" .. SO_FAR },
    { "conn_state", "string", "Connection state (Zeek)",
        "State of the latest attempt in the words of Zeek's conn.log: SF, S0, S1, REJ, RSTO, OTH ..." .. SO_FAR },
    { "history", "string", "History (Zeek)",
        "What both ends did, in the letters of Zeek's conn.log, such as ShADadFf: upper case for the client, "
        .. "lower case for the server" .. SO_FAR },
    { "diagnosis", "string", "Diagnosis",
        "Why the latest attempt went as it did: server-silent, filtered, syn-lost, injected-reset, idle-timeout, "
        .. "slow-server, orderly ..." .. SO_FAR },
    { "suspect", "string", "Suspect",
        "Where to look for the cause: client, server, path, path-to-client, path-to-server or capture; none if the "
        .. "capture does not decide" .. SO_FAR },
    { "evidence", "string", "Evidence",
        "The frame that shows the diagnosis, or two joined with +" .. SO_FAR },
    { "evidence_frame", "framenum", "Evidence in", "A frame that shows the diagnosis" .. SO_FAR },
    { "diagnosis_text", "string", "Diagnosis in words", "The diagnosis as a sentence" .. SO_FAR },
    { "sack_permitted", "bool", "SACK permitted", "SYN and SYN-ACK both offer selective acknowledgements" },
    { "timestamps", "bool", "Timestamps", "SYN and SYN-ACK both offer timestamps" },
    { "ecn", "string", "ECN",
        "Explicit Congestion Notification that SYN and SYN-ACK have settled: none, rfc3168 or accecn" },
}

local fields, field_list = {}, {}
for index = 1, #FIELDS do
    local name, kind, title, blurb = FIELDS[index][1], FIELDS[index][2], FIELDS[index][3], FIELDS[index][4]
    fields[name] = new_field(name, kind, title, blurb)
    field_list[index] = fields[name]
end
proto.fields = field_list

return { proto = proto, fields = fields }

end

-- ==== plugin/src/wireshark/sentences.lua
modules["wireshark.sentences"] = function()

-- The diagnoses of chapter D in words: how harmful each is, what happened, and what to do.
--
-- SPDX-License-Identifier: GPL-2.0-or-later

local end_name = require("state").end_name

local WARN, NOTE, CHAT = expert.severity.WARN, expert.severity.NOTE, expert.severity.CHAT

-- Each diagnosis with the severity of its expert information (nil if it has none) and its sentence, the most harmful
-- first. $A stands for the sender of the RST, $S for the suspect, $T for the handshake time.
local DIAGNOSES = {
    { "injected-reset", WARN,
        "A reset came that does not look like one of the $A: look for a firewall or a filter, between the "
            .. "ends or on one of them." },
    { "no-such-connection", WARN,
        "The $A answered that it has no such connection: it restarted or forgot it; look at its logs, and at "
            .. "devices between that change addresses." },
    { "reset-with-unread-data", WARN,
        "The $A closed before it had read all data, so that its system reset the connection: look why its "
            .. "application stopped reading." },
    { "application-abort", WARN,
        "The connection was ended by a reset of the $A instead of a FIN: look at the log of its application." },
    { "idle-timeout", WARN,
        "After a long silence the $A reset the connection: let the application send something in between, or "
            .. "raise the idle time-out of the $A or of a device on the path." },
    { "peer-vanished", WARN,
        "An end repeated its segments and got no answer: find out whether the other end, or the path to it, "
            .. "failed." },
    { "server-silent", NOTE,
        "The server never answered the SYN: find out whether the SYN reaches it, and whether a firewall drops it "
            .. "silently." },
    { "filtered", NOTE,
        "A filter refused the connection: look for a firewall rule on this port." },
    { "host-unreachable", NOTE,
        "The network reports that it cannot deliver the SYN: check the route, and whether the server is up." },
    { "port-closed", NOTE,
        "A reset refused the connection: nothing listens on this port, or a firewall answers for the server; start the "
            .. "service, or correct the port." },
    { "invalid-answer", NOTE,
        "An answer in the handshake did not fit, and was not accepted: look for a device that answers in an end's "
            .. "name, or changes numbers." },
    { "old-connection-held", NOTE,
        "The server still held an older connection between these addresses and ports, and answered from that: "
            .. "look why the older one was not closed." },
    { "close-not-finished", NOTE,
        "One end closed and the other had not at least 10 s later: look at the application of the $S, which keeps the "
            .. "connection open." },
    { "third-step-ignored", NOTE,
        "The server answered again although the third step was on its way: its accept queue is full, it waits for "
            .. "data, or the step was lost behind the point of capture." },
    { "syn-ack-lost", NOTE,
        "The server answered the SYN, but the client sent it again: the answer did not reach it in time, or the "
            .. "client dropped it." },
    { "third-step-lost", NOTE,
        "The server answered again before a third step came: that or the answer was late or lost." },
    { "syn-lost", NOTE,
        "The SYN had to be sent again: it was lost, or the server dropped it." },
    { "slow-server", NOTE,
        "The handshake took $T, most of it until the server's answer: look at the server and the path to it." },
    { "slow-client", NOTE,
        "The handshake took $T, most of it until the client's third step: look at the client and the path to it." },
    { "slow-path", NOTE,
        "The handshake took $T, on both sides of the point of capture: look at the distance between the ends." },
    { "one-sided", nil,
        "The capture holds segments of one end only: if the other sent any, capture where both directions pass." },
    { "probe", CHAT,
        "The client opened the connection and reset it without sending data: a port scan or a health check." },
    { "reset-after-close", CHAT,
        "A reset came after both ends had closed: harmless." },
    { "still-open", nil,
        "The connection was open, or opening, at the end of the capture: nothing shows a fault." },
    { "orderly", nil,
        "Both ends closed the connection: nothing to do." },
}

-- The place of each diagnosis in that list.
local rank_of = {}
for index = 1, #DIAGNOSES do
    rank_of[DIAGNOSES[index][1]] = index
end

--- Returns the diagnosis of a connection in words.
-- @param verdict what verdict_of returned
local function sentence_of(connection, verdict)
    local reset_by, time = connection.attempt.reset_by, connection.handshake_time
    if verdict.diagnosis == "injected-reset" then
        reset_by = connection.trace.injected_end or reset_by
    end
    local words = { A = reset_by and end_name(connection, reset_by) or "peer", S = verdict.suspect or "other end" }
    if time then
        words.T = string.format("%.1f s", time:tonumber())
    end
    return (DIAGNOSES[rank_of[verdict.diagnosis]][3]:gsub("%$(%u)", words))
end

--- Returns a diagnosis in words that are the same for every connection.
-- @param diagnosis whose sentence has none of the words above
local function common_sentence_of(diagnosis)
    return DIAGNOSES[rank_of[diagnosis]][3]
end

return {
    DIAGNOSES = DIAGNOSES, rank_of = rank_of, sentence_of = sentence_of, common_sentence_of = common_sentence_of,
}

end

-- ==== plugin/src/wireshark/experts.lua
modules["wireshark.experts"] = function()

-- The expert information: one item for each anomaly, one for each diagnosis that is worth one, and one for a slow
-- handshake.
--
-- SPDX-License-Identifier: GPL-2.0-or-later

local ANOMALIES = require("vocabulary").ANOMALIES
local proto = require("wireshark.fields").proto
local DIAGNOSES = require("wireshark.sentences").DIAGNOSES

local CHAT, NOTE, WARN = expert.severity.CHAT, expert.severity.NOTE, expert.severity.WARN
local SEQUENCE, PROTOCOL = expert.group.SEQUENCE, expert.group.PROTOCOL
local RESPONSE = expert.group.RESPONSE_CODE

-- Group, severity and sentence of each anomaly.
local SENTENCES = {
    ["syn-retransmission"] = { SEQUENCE, NOTE, "The SYN was sent before: it or its answer was lost or late." },
    ["syn-ack-retransmission"] = { SEQUENCE, NOTE, "The SYN-ACK was sent before: it or its answer was lost or late." },
    ["fin-retransmission"] = { SEQUENCE, NOTE, "The FIN was sent before: it or its answer was lost or late." },
    ["connection-refused"] = { RESPONSE, WARN,
        "The SYN was refused by a reset: usually nothing listens on that port, or a firewall rejects." },
    ["unreachable"] = { RESPONSE, WARN, "The network reports that the SYN could not be delivered." },
    ["handshake-aborted"] = { SEQUENCE, WARN, "The reset ends the handshake before the connection was opened." },
    ["simultaneous-open"] = { SEQUENCE, CHAT, "Both ends sent a SYN before the other's arrived." },
    ["simultaneous-close"] = { SEQUENCE, CHAT, "Both ends sent a FIN before the other's arrived." },
    ["syn-with-data"] = { SEQUENCE, CHAT, "The SYN carries data, as TCP Fast Open does." },
    ["half-close-data"] = { SEQUENCE, CHAT, "The peer has closed its direction; this end goes on sending." },
    ["data-after-fin"] = { SEQUENCE, WARN, "The segment carries data beyond the FIN of its own sender." },
    ["rst-after-fin"] = { SEQUENCE, NOTE, "The reset comes after a FIN: the connection was being closed already." },
    ["segment-after-close"] = { SEQUENCE, NOTE, "The connection was over before this segment." },
    ["port-reuse"] = { SEQUENCE, NOTE, "Another connection between the same addresses and ports begins." },
    ["ack-mismatch"] = { SEQUENCE, WARN, "The acknowledgement number does not fit the SYN that was sent." },
    ["invalid-flags"] = { PROTOCOL, WARN, "No TCP sends this combination of flags." },
    ["syn-on-established"] = { SEQUENCE, WARN, "A SYN or SYN-ACK on a live connection." },
    ["duplicate"] = { SEQUENCE, NOTE,
        "The capture holds this segment twice, as behind a mirror port: it was not sent again." },
    ["rst-ignored"] = { SEQUENCE, WARN, "The receiver of this reset must not accept it, and lives on." },
    ["challenge-ack"] = { SEQUENCE, NOTE,
        "The sender got a segment that it must not accept, and says what it expects." },
    ["seq-mismatch"] = { SEQUENCE, WARN, "The sequence number lies where no window of this connection can be." },
    ["ack-beyond-sent"] = { SEQUENCE, NOTE, "The FIN acknowledges what its receiver was not seen to send." },
    ["old-connection"] = { SEQUENCE, NOTE,
        "The segment has the numbers of an older connection between these ends." },
}

local by_anomaly, expert_list = {}, {}
for index = 1, #ANOMALIES do
    local name = ANOMALIES[index]
    local group, severity, sentence = SENTENCES[name][1], SENTENCES[name][2], SENTENCES[name][3]
    by_anomaly[name] = ProtoExpert.new("tcp_handshake.expert." .. name:gsub("-", "_"), sentence, group, severity)
    expert_list[index] = by_anomaly[name]
end
local by_diagnosis = {}
for index = 1, #DIAGNOSES do
    local name, severity = DIAGNOSES[index][1], DIAGNOSES[index][2]
    if severity then
        by_diagnosis[name] = ProtoExpert.new("tcp_handshake.expert.diagnosis_" .. name:gsub("-", "_"),
            "Diagnosis: " .. name, SEQUENCE, severity)
        expert_list[#expert_list + 1] = by_diagnosis[name]
    end
end
local slow_handshake = ProtoExpert.new("tcp_handshake.expert.slow_handshake",
    "The handshake took longer than the preference allows.", SEQUENCE, NOTE)
expert_list[#expert_list + 1] = slow_handshake
proto.experts = expert_list

return { by_anomaly = by_anomaly, by_diagnosis = by_diagnosis, slow_handshake = slow_handshake }

end

-- ==== plugin/src/wireshark/reader.lua
modules["wireshark.reader"] = function()

-- Reads segments and network errors out of the fields of a frame (G1 to G3, G8, N1, C12, C13).
--
-- SPDX-License-Identifier: GPL-2.0-or-later

local TIMESTAMP = require("vocabulary").TIMESTAMP

local floor, max, min = math.floor, math.max, math.min
local byte, find, sub = string.byte, string.find, string.sub

-- ------------------------------------------------------------------------------------------------------- Extractors

-- For each of these fields Wireshark keeps the values of every frame. For most frames that costs more than all the rest
-- of the plugin. So the other values of a TCP header are read from its bytes, and only when a rule needs them.

-- G1, G4
local get_port, get_stream = Field.new("tcp.srcport"), Field.new("tcp.stream")
local get_length = Field.new("tcp.len")
-- G3, N1: the network layers, with the types of their network errors. "Fragmentation needed" is not one of them.
local NETWORKS = {
    {
        get_source = Field.new("ip.src"), get_destination = Field.new("ip.dst"),
        get_type = Field.new("icmp.type"), get_code = Field.new("icmp.code"),
        errors = { [3] = true, [11] = true, [12] = true }, unreachable = 3, fragmentation_needed = 4,
    },
    {
        get_source = Field.new("ipv6.src"), get_destination = Field.new("ipv6.dst"),
        get_type = Field.new("icmpv6.type"), get_code = Field.new("icmpv6.code"),
        errors = { [1] = true, [3] = true, [4] = true }, unreachable = 1,
    },
}
local get_source, get_source_6 = NETWORKS[1].get_source, NETWORKS[2].get_source
-- C12: options that only SYNs and SYN-ACKs carry.
local get_mss, get_window_scale = Field.new("tcp.options.mss_val"), Field.new("tcp.options.wscale.shift")
local get_fast_open_request = Field.new("tcp.options.tfo.request")
local get_fast_open_cookie = Field.new("tcp.options.tfo.cookie")
-- H10: pinfo.abs_ts is a float and has no nanoseconds. For what chapter D calls long, it is exact enough.
local get_time = Field.new("frame.time_epoch")

-- ---------------------------------------------------------------------------------------------- Reading of a frame

--- Returns the value of the first of the occurrences given, or nil.
local function value_of(info)
    return info and info.value
end

--- Returns the value of the last of the occurrences given, or nil.
local function last_value(...)
    local count = select("#", ...)
    return count > 0 and (select(count, ...)).value or nil
end

--- Returns the number that bytes hold in network order.
local function number_in(bytes)
    local number = 0
    for index = 1, #bytes do
        number = number * 256 + bytes:byte(index)
    end
    return number
end

--- Returns the function by which Wireshark gets an attribute of a class of its own. To call it costs half as much as to
-- read the attribute, which looks it up by its name first.
-- @param object of the class
-- @param name of the attribute
local function getter(object, name)
    local class = getmetatable(object)
    local getters = type(class) == "table" and rawget(class, "__getters")
    return type(getters) == "table" and getters[name] or function(any)
        return any[name]
    end
end

-- Tvb.raw and Tvb.len, and what gets FieldInfo.source and FieldInfo.offset: to look them up costs as much as to call
-- them.
local raw, len, source_of, offset_of

--- Prepares the reading of bytes.
-- @param info an occurrence of a field
local function prepare(info)
    source_of, offset_of = getter(info, "source"), getter(info, "offset")
    local source = source_of(info)
    raw, len = source.raw, source.len
end

--- Returns the bytes of a TCP header with its options, as far as they were captured. One read gets all that the rules
-- need of them.
-- @param info an occurrence of a field that stands at the beginning of the header: tcp.srcport, tcp.stream or tcp.len
local function read_header(info)
    if not raw then
        prepare(info)
    end
    local source, offset = source_of(info), offset_of(info)
    return raw(source, offset, min(60, len(source) - offset))
end

-- A usual frame holds one TCP header, directly on an IPv4 header without options or an IPv6 header without extensions.
-- That stands at the beginning of the frame or behind its EtherType. The packet is no fragment, and was captured whole.
-- The most bytes before that TCP header: a tunnel, or an ICMP error, which quotes a header, needs more.
local MOST_BEFORE_IPV4, MOST_BEFORE_IPV6 = 38, 58
-- The bytes of the frame that read_usual was called for, and how many of them stand before the TCP header.
local frame_bytes, header_offset

--- Returns what the bytes of a TCP header say.
-- @param size of it, with its payload
-- @param identification, hop_limit of the IP header
-- @param a, b, ..., n its first 14 bytes
-- @return as of read_usual
local function read_numbers(size, identification, hop_limit, a, b, c, d, e, f, g, h, i, j, k, l, m, n)
    local length = size - (m - m % 16) / 4
    if m >= 80 and length >= 0 and header_offset + size <= #frame_bytes then -- G1: a header has 20 bytes at least
        return a * 256 + b, c * 256 + d, m % 16 * 256 + n, ((e * 256 + f) * 256 + g) * 256 + h,
            ((i * 256 + j) * 256 + k) * 256 + l, length, identification, hop_limit
    end
    return nil
end

--- Returns what the bytes of a usual frame say of its only segment. They are read from the frame itself: where the
-- header stands in other data (reassembled fragments of IP), they are not its bytes. So they say nothing unless both
-- ports are those of the connection, or those that Wireshark has (usual_segment).
-- @param tvb the bytes of the frame
-- @param info the occurrence of tcp.stream of the header
-- @return source port, destination port, flags, sequence number, acknowledgement number, length of the payload, and the
--   identification of the IPv4 header, 0 if there is none, and the hop limit; nothing if the frame is not usual
local function read_usual(tvb, info)
    if not raw then
        prepare(info)
    end
    local offset, bytes = offset_of(info), raw(tvb) -- to ask for some of the bytes only costs more
    frame_bytes, header_offset = bytes, offset
    if offset > 21 and offset <= MOST_BEFORE_IPV4 then
        local type_1, type_2, version, _, size_1, size_2, id_1, id_2, fragment_1, fragment_2, hop_limit, protocol,
            _, _, _, _, _, _, _, _, _, _, a, b, c, d, e, f, g, h, i, j, k, l, m, n
            = byte(bytes, offset - 21, offset + 14)
        if version ~= 0x45 or protocol ~= 6 or fragment_2 ~= 0 or fragment_1 ~= 64 and fragment_1 ~= 0
            or type_1 ~= 8 or type_2 ~= 0 or not n then
            return nil
        end
        local size = size_1 * 256 + size_2 - 20
        local length = size - (m - m % 16) / 4
        if m >= 80 and length >= 0 and offset + size <= #bytes then -- as read_numbers, whose call costs a tenth of this
            return a * 256 + b, c * 256 + d, m % 16 * 256 + n, ((e * 256 + f) * 256 + g) * 256 + h,
                ((i * 256 + j) * 256 + k) * 256 + l, length, id_1 * 256 + id_2, hop_limit
        end
    elseif offset == 20 then
        local version, _, size_1, size_2, id_1, id_2, fragment_1, fragment_2, hop_limit, protocol = byte(bytes, 1, 10)
        if version == 0x45 and protocol == 6 and fragment_2 == 0 and (fragment_1 == 64 or fragment_1 == 0)
            and #bytes >= 34 then
            return read_numbers(size_1 * 256 + size_2 - 20, id_1 * 256 + id_2, hop_limit, byte(bytes, 21, 34))
        end
    elseif offset == 40 or offset > 41 and offset <= MOST_BEFORE_IPV6 then
        local version, _, _, _, size_1, size_2, protocol, hop_limit = byte(bytes, offset - 39, offset - 32)
        local type_1, type_2 = byte(bytes, offset - 41, offset - 40)
        if protocol == 6 and version >= 0x60 and version <= 0x6F and #bytes >= offset + 14
            and (offset == 40 or type_1 == 0x86 and type_2 == 0xDD) then
            return read_numbers(size_1 * 256 + size_2, 0, hop_limit, byte(bytes, offset + 1, offset + 14))
        end
    end
    return nil
end

--- Returns what the bytes of another frame with one tcp.len say of its segment. Parameters, and what it returns, as of
-- read_usual, but no identification.
local function read_other(tvb, info)
    local length, another = get_length()
    if not length or another then
        return nil
    end
    local is_there, bytes = pcall(raw, tvb, offset_of(info), 14) -- to ask for the length first costs more
    if not is_there then
        return nil
    end
    local a, b, c, d, e, f, g, h, i, j, k, l, m, n = byte(bytes, 1, 14)
    if m < 80 then -- G1: a header shorter than 20 bytes is no segment
        return nil
    end
    return a * 256 + b, c * 256 + d, m % 16 * 256 + n, ((e * 256 + f) * 256 + g) * 256 + h,
        ((i * 256 + j) * 256 + k) * 256 + l, length()
end

--- Returns what the options of a TCP header say, as far as it was captured.
-- @param header as read_header returns it
-- @return has_sack: whether it holds the option SACK permitted
-- @return has_timestamps: whether it holds the option timestamps
-- @return tsval, tsecr: the numbers of the last of those, or nil
-- @return mss, window_scale: the last numbers of these options, or nil
local function read_options(header)
    local has_sack, has_timestamps, tsval, tsecr, mss, window_scale = false, false, nil, nil, nil, nil
    local index, last = 21, floor(byte(header, 13) / 16) * 4
    while index < last do
        local kind, size, a, b, c, d, e, f, g, h = byte(header, index, index + 9)
        if not kind or kind == 0 then -- end of the list
            break
        elseif kind == 1 then -- no operation
            size = 1
        elseif not size or size < 2 or index + size - 1 > last or (kind == 5 and (size < 10 or size % 8 ~= 2)) then
            break -- Wireshark, too, stops at a damaged SACK
        elseif kind == 2 then
            mss = b and a * 256 + b
        elseif kind == 3 then
            window_scale = a
        elseif kind == 4 then
            has_sack = true
        elseif kind == 8 then
            has_timestamps, tsval, tsecr = true, nil, nil
            if size == 10 and d then
                tsval = ((a * 256 + b) * 256 + c) * 256 + d
                tsecr = h and ((e * 256 + f) * 256 + g) * 256 + h
            end
        end
        index = index + size
    end
    return has_sack, has_timestamps, tsval, tsecr, mss, window_scale
end

-- What the options of nearly all SYNs and SYN-ACKs look like, by the length of the header: a maximum segment size, and
-- in some order SACK permitted, timestamps and window scale, each whole and once.
local PLAIN_OPTIONS = {
    [20] = { "^" },
    [24] = { "^\2\4.." },
    [28] = { "^\2\4..\1\1\4\2", "^\2\4..\4\2\1\1", "^\2\4..\1\3\3." },
    [32] = { "^\2\4..\1\1\4\2\1\3\3.", "^\2\4..\1\3\3.\1\1\4\2", "^\2\4..\1\3\3.\4\2\1\1" },
    [36] = { "^\2\4..\4\2\8\10........", "^\2\4..\1\1\8\10........" },
    [40] = { "^\2\4..\4\2\8\10........\1\3\3.", "^\2\4..\1\3\3.\4\2\8\10........" },
    [44] = { "^\2\4..\1\3\3.\1\1\8\10........\4\2\0\0", "^\2\4..\1\3\3.\1\1\8\10........\1\1\4\2" },
}

--- Returns whether the options of a SYN or SYN-ACK are plain: then their bytes alone tell what Wireshark makes of them.
-- @param header as read_header returns it
local function has_plain_options(header)
    local size = floor(byte(header, 13) / 16) * 4
    local patterns = #header >= size and PLAIN_OPTIONS[size]
    for index = 1, patterns and #patterns or 0 do
        if find(header, patterns[index], 21) then
            return true
        end
    end
    return false
end

--- Returns the last of the occurrences given, or nil.
local function last_of(...)
    local count = select("#", ...)
    return count > 0 and (select(count, ...)) or nil
end

--- Returns what the network layers of a frame with one TCP header say. Their source addresses are asked for anyway: one
-- field less costs every frame less. The identification stands eight bytes before that of IPv4, the hop limit four
-- bytes; that of IPv6 stands right before its source address.
-- @param is_ipv6 whether the source of the connection's segments is an IPv6 address; nil if that is not known yet
-- @return the identification of the last IPv4 header (G8), 0 if there is none
-- @return the hop limit (D1), or nil
-- @return is_ipv6
local function read_network(pinfo, is_ipv6)
    local identity, hop_limit = 0, nil
    local info = last_of(get_source())
    if info then
        local high, low, _, _, limit = byte(raw(source_of(info), offset_of(info) - 8, 5), 1, 5)
        identity, hop_limit = high * 256 + low, limit
    end
    if is_ipv6 ~= false then
        info = last_of(get_source_6())
        is_ipv6 = info ~= nil and (is_ipv6 or not hop_limit or info.value == pinfo.src) -- either can be in a tunnel
        if is_ipv6 then
            hop_limit = byte(raw(source_of(info), offset_of(info) - 1, 1))
        end
    end
    return identity, hop_limit, is_ipv6
end

--- Returns what a SYN or SYN-ACK offers (C12, C13, H10), and the identity of the only segment of a frame (G8), or nil.
-- @param header as read_header returns it
-- @param flags of the segment
-- @param identification the last of the frame (G8), 0 if there is none
-- @param is_plain true if the options are known to be plain
local function read_offer_and_identity(header, flags, identification, is_plain)
    local identity, offer = identification, nil
    local is_syn = flags % 4 >= 2
    if is_syn or identity == 0 then
        local has_sack, has_timestamps, tsval, tsecr, mss, window_scale = read_options(header)
        if identity == 0 then
            identity = tsval and TIMESTAMP + tsval or (flags % 8 >= 4 or is_syn and flags % 32 >= 16) and 0 or nil
        end
        if is_syn then
            local fast_open
            if not is_plain then -- as Wireshark reads them
                mss, window_scale = value_of(get_mss()), value_of(get_window_scale())
                local cookie = get_fast_open_cookie()
                if cookie then -- C12: RFC 7413 allows no more than 16 bytes
                    fast_open = cookie.len <= 16 and cookie.value:tohex(true) or nil
                elseif get_fast_open_request() then
                    fast_open = "request"
                end
            end
            offer = {
                mss = mss, window_scale = window_scale, sack_permitted = has_sack, timestamps = has_timestamps,
                fast_open = fast_open, tsval = tsval, tsecr = tsecr,
            }
        end
    end
    return offer, identity
end

--- Looks for a network error in the frame (N1).
-- @return the network layer of the quoted ends, or nil if there is none
-- @return true if the error is a destination unreachable
-- @return its code
local function network_error()
    for _, network in ipairs(NETWORKS) do
        local types, codes = { network.get_type() }, { network.get_code() }
        for index = 1, #types do
            local kind = types[index].value
            local is_unreachable = kind == network.unreachable
            local is_harmless = is_unreachable and network.fragmentation_needed
                and value_of(codes[index]) == network.fragmentation_needed
            if network.errors[kind] and not is_harmless then
                return network, is_unreachable, value_of(codes[index])
            end
        end
    end
    return nil, false, nil
end

--- Returns the addresses of the segments of a frame (G3).
-- @param count how many segments the frame holds
-- @return two lists of occurrences, or nil if the segments have the addresses of the innermost network layer
local function addresses_of(count)
    for _, network in ipairs(NETWORKS) do
        local sources, destinations = { network.get_source() }, { network.get_destination() }
        if count > 1 and #sources == count and #destinations == count then
            return sources, destinations
        end
    end
    return nil, nil
end

-- The segment of a frame with one header. There is one table for all of them, since each is done with before the next.
local single = { ordinal = 0 }

--- Returns the segment of a frame with one header.
-- @param tracker which tells whether the addresses matter
-- @param info the occurrence of the header's tcp.stream, or nil
-- @param stream its value
-- @return a table with stream, source_port, destination_port, flags, seq, ack, length, ordinal and header, and source
--   and destination if they matter; it holds until the next one is read. Or nil if the header is no segment (G1)
local function read_segment(tracker, info, stream, pinfo)
    local length = info and get_length()
    if not length then
        return nil
    end
    local header = read_header(info)
    local a, b, c, d, e, f, g, h, i, j, k, l, m, n = byte(header, 1, 14)
    if not n or m < 80 then -- G1: a data offset of less than 20 bytes; Wireshark gives such a header no tcp.flags
        return nil
    end
    single.stream, single.source_port, single.destination_port = stream, a * 256 + b, c * 256 + d
    single.seq, single.ack = ((e * 256 + f) * 256 + g) * 256 + h, ((i * 256 + j) * 256 + k) * 256 + l
    single.flags, single.length, single.header = m % 16 * 256 + n, length(), header
    if tracker:needs_addresses(stream) then
        single.source, single.destination = pinfo.src, pinfo.dst
    else
        single.source, single.destination = nil, nil
    end
    return single
end

-- Get pinfo.src_port and pinfo.dst_port.
local src_port_of, dst_port_of

--- Returns the segment of a usual frame, as read_segment does, with header only if the rules need it. It carries no
-- payload, so that the frame has no other header.
-- @param connection the record of its connection, or nil
-- @param the rest as of read_usual
-- @return nil if the bytes are not those of the header
local function usual_segment(connection, stream, pinfo, source_port, destination_port, flags, seq, ack,
                             identification)
    local ports = connection and connection.ports
    if ports and (source_port ~= ports[1] or destination_port ~= ports[2])
        and (source_port ~= ports[2] or destination_port ~= ports[1]) then
        return nil
    end
    if not ports then
        src_port_of, dst_port_of = src_port_of or getter(pinfo, "src_port"), dst_port_of or getter(pinfo, "dst_port")
        if src_port_of(pinfo) ~= source_port or dst_port_of(pinfo) ~= destination_port then
            return nil
        end
    end
    single.header = (identification == 0 or flags % 4 >= 2) and sub(frame_bytes, header_offset + 1, header_offset + 60)
    single.stream, single.source_port, single.destination_port = stream, source_port, destination_port
    single.seq, single.ack, single.flags, single.length = seq, ack, flags, 0
    if not ports or ports[1] == ports[2] then
        single.source, single.destination = pinfo.src, pinfo.dst
    else
        single.source, single.destination = nil, nil
    end
    return single
end

--- Returns a number of a header.
-- @param info an occurrence of a field of the header
-- @param place how many bytes behind its beginning the number stands
-- @param size of the number in bytes
local function read_number(info, place, size)
    return number_in(info.source:raw(info.offset + place, size))
end

--- Returns the occurrences of tcp.stream whose header has a tcp.flags. Wireshark gives one to each header but those
-- with a data offset of less than 20 bytes.
-- @param streams the occurrences
local function with_flags(streams)
    local list = {}
    for index = 1, #streams do
        if read_number(streams[index], 12, 1) >= 80 then
            list[#list + 1] = streams[index]
        end
    end
    return list
end

--- Returns the segments of a frame with several headers (G1 to G3).
-- @return a list of tables as of read_segment, but without header
-- @return true if the list is empty because the fields do not tell which header is quoted (G2)
local function read_segments(pinfo)
    local ports, streams, lengths = { get_port() }, { get_stream() }, { get_length() }
    local flags = with_flags(streams)
    local count, most = min(#ports, #lengths, #flags), max(#ports, #streams, #lengths, #flags)
    if count == 0 or (count < most and network_error()) then
        return {}, count > 0
    end
    local sources, destinations = addresses_of(count)
    local segments, ordinals = {}, {}
    for index = 1, count do
        local stream, length, flag = streams[index](), lengths[index], flags[index]
        -- A damaged header lacks some fields, so that occurrences at one index can belong to different headers: the
        -- sequence number is read from the header of tcp.len, the acknowledgement number from that of tcp.flags.
        segments[index] = {
            stream = stream, length = length(), flags = read_number(flag, 12, 2) % 4096,
            source_port = read_number(ports[index], 0, 2), destination_port = read_number(ports[index], 2, 2),
            seq = read_number(length, 4, 4), ack = read_number(flag, 8, 4),
            source = sources and sources[index].value or pinfo.src,
            destination = destinations and destinations[index].value or pinfo.dst,
            ordinal = ordinals[stream] or 0,
        }
        ordinals[stream] = segments[index].ordinal + 1
    end
    return segments, false
end

return {
    getter = getter, get_port = get_port, get_stream = get_stream, get_length = get_length, get_time = get_time,
    value_of = value_of, last_value = last_value, read_number = read_number, read_usual = read_usual,
    read_other = read_other, usual_segment = usual_segment, has_plain_options = has_plain_options,
    read_network = read_network, read_offer_and_identity = read_offer_and_identity, network_error = network_error,
    read_segment = read_segment, read_segments = read_segments,
}

end

-- ==== plugin/src/wireshark/tree.lua
modules["wireshark.tree"] = function()

-- What users see: the tree of a segment, its expert information, and its note in the Info column.
--
-- SPDX-License-Identifier: GPL-2.0-or-later

local RST = require("vocabulary").RST
local both_closed = require("state").both_closed
local summary_of, diagnosis = require("connection_row").summary_of, require("diagnosis")
local verdict_of, evidence_text = diagnosis.verdict_of, diagnosis.evidence_text
local sentences = require("wireshark.sentences")
local sentence_of, common_sentence_of = sentences.sentence_of, sentences.common_sentence_of
local protocol, experts = require("wireshark.fields"), require("wireshark.experts")

local format, concat = string.format, table.concat
local proto, fields = protocol.proto, protocol.fields
local expert_of, slow_handshake = experts.by_anomaly, experts.slow_handshake
local expert_of_diagnosis, SLOW = experts.by_diagnosis, require("vocabulary").SLOW / 1000000000

--- Returns the text of the tree's top item.
local function summary_text(annotation)
    local parts = { annotation.role }
    if annotation.handshake_step then
        parts[#parts + 1] = format("handshake step %d of 3", annotation.handshake_step)
    end
    if annotation.teardown_step then
        -- A simultaneous close has two steps of each end, and the four have no order.
        parts[#parts + 1] = "teardown step " .. annotation.teardown_step
            .. (annotation.is_simultaneous_close and "" or " of 4")
    end
    parts[#parts + 1] = annotation.anomaly
    return format("TCP Handshake: %s%sclient %s, server %s", concat(parts, ", "), #parts > 0 and " → " or "",
        annotation.client_state, annotation.server_state)
end

--- Returns the text of the connection's subtree (C17).
local function connection_text(summary)
    local parts = { summary.establishment }
    parts[2] = summary.termination == "none" and "not closed" or summary.termination
    if summary.closed_by and summary.closed_by ~= summary.reset_by then
        parts[#parts + 1] = "closed by " .. summary.closed_by
    end
    parts[#parts + 1] = summary.reset_by and "reset by " .. summary.reset_by
    return "Connection: " .. concat(parts, ", ")
end

--- Returns the note on a segment for the Info column; empty if there is none.
local function info_note(annotation)
    if not annotation.role then
        return ""
    end
    local anomaly, step = annotation.anomaly or "", annotation.teardown_step
    if annotation.role == RST then
        if anomaly:find("connection-refused", 1, true) then
            return "[Refused] "
        end
        if anomaly:find("handshake-aborted", 1, true) then
            return "[Handshake aborted] "
        end
        return anomaly:find("rst-ignored", 1, true) and "[Reset, ignored] " or "[Reset] "
    end
    local note = ""
    if annotation.handshake_step then
        note = format("[Handshake %d/3] ", annotation.handshake_step)
    end
    if step then
        note = note .. (annotation.is_simultaneous_close and "[Simultaneous close " .. step .. "/2] "
            or "[Teardown " .. step .. "/4] ")
    end
    return note
end

-- Is this Wireshark, which has a window, or tshark?
local has_window = gui_enabled()
-- In tshark all new frames are printed with the same columns: is the Info column one of them? nil if that is not known
-- yet. In Wireshark the columns of a frame are filled when it is displayed.
local has_info

--- Returns whether anybody sees notes in the Info column.
-- @param is_new true if the frame was not processed before
local function has_notes(is_new)
    return (has_info ~= false or not is_new or has_window) and proto.prefs.info_notes
end

--- Puts the notes of a frame before the rest of the Info column. Wireshark would cut them off at its end.
-- @param notes can be empty
-- @param is_new true if the frame was not processed before
local function show_notes(notes, pinfo, is_new)
    if notes == "" or not has_notes(is_new) then
        return
    end
    pinfo.cols.info:prepend(notes)
    if has_info == nil and is_new and not has_window then
        has_info = tostring(pinfo.cols.info):sub(1, #notes) == notes
    end
end

-- TreeItem's methods add, set_generated and referenced: to look them up costs as much as to call them.
local add_item, set_generated, referenced

-- What a segment can show together, as the names of groups of fields.
local EVENT, OFFER, CONNECTION = "any event", "any offer", "any connection"
local SUMMARY, VERDICT = "any summary", "any verdict"
local GROUPS = {
    [EVENT] = {
        "role", "handshake_step", "teardown_step", "explanation", "responds_to", "answered_in", "response_time",
        "handshake_time", "retransmission_delay", "teardown_time", "retransmission", "anomaly",
    },
    [OFFER] = {
        "client_mss", "client_window_scale", "client_fast_open", "server_mss", "server_window_scale",
        "server_fast_open",
    },
    [CONNECTION] = { "stream", SUMMARY, VERDICT, "sack_permitted", "timestamps", "ecn" },
    [SUMMARY] = { "establishment", "termination", "closed_by", "reset_by", "conn_state", "history" },
    [VERDICT] = { "diagnosis", "diagnosis_text", "suspect", "evidence", "evidence_frame" },
}

-- The tree of the present frame.
local present_tree

--- Returns whether Wireshark needs a field, or one of a group, in the present tree, and keeps the answer.
-- @param answers those that are kept
-- @param name of the field or group
local function ask(answers, name)
    local members, answer = GROUPS[name], false
    for index = 1, members and #members or 0 do
        answer = answer or answers[members[index]]
    end
    if not members then
        answer = referenced(present_tree, fields[name])
    end
    answers[name] = answer
    return answer
end

local ASKING = { __index = ask }
local ALL = setmetatable({}, { __index = function()
    return true
end })
-- Does Wireshark display the tree? Then it needs all fields, else those that a filter, a column or a tap refers to.
local is_visible
-- Which fields and groups does Wireshark need in the present tree, by their names?
local needed
-- The same for all new frames of tshark, whose columns, filters and taps are set before the first one; nil before that.
local is_visible_for_new, needed_for_new

--- Prepares for a tree.
-- @param is_new true if the frame was not processed before
local function prepare(tree, is_new)
    present_tree = tree
    if is_new and needed_for_new then
        is_visible, needed = is_visible_for_new, needed_for_new
        return
    end
    is_visible = tree.visible
    needed = is_visible and ALL or setmetatable({}, ASKING)
    if is_new and not has_window then
        is_visible_for_new, needed_for_new = is_visible, needed
    end
end

--- Adds an item, and says that it stands for nothing in the frame itself; that matters only where it is displayed.
local function add_generated(item, field, value)
    local added = add_item(item, field, value)
    if is_visible then
        set_generated(added)
    end
    return added
end

--- Adds a field to an item if it has a value and Wireshark needs it.
local function add(item, name, value)
    if value ~= nil and needed[name] then
        add_generated(item, fields[name], value)
    end
end

--- Adds a field once for each part of a string that is joined with "+" (T9).
local function add_each(item, name, joined)
    if joined and needed[name] then
        for part in joined:gmatch("[^+]+") do
            add_generated(item, fields[name], tonumber(part) or part)
        end
    end
end

--- Adds the fields that only segments with a role or an anomaly have.
local function show_event(item, annotation)
    add_each(item, "role", annotation.role)
    add(item, "handshake_step", annotation.handshake_step)
    add_each(item, "teardown_step", annotation.teardown_step)
    if proto.prefs.explanations then
        add(item, "explanation", annotation.explanation)
    end
    add(item, "responds_to", annotation.responds_to)
    add(item, "answered_in", annotation.answered_in)
    add(item, "response_time", annotation.response_time)
    add(item, "handshake_time", annotation.handshake_time)
    add(item, "retransmission_delay", annotation.retransmission_delay)
    add(item, "teardown_time", annotation.teardown_time)
    add(item, "retransmission", annotation.retransmission)
    add_each(item, "anomaly", annotation.anomaly)
end

--- Adds the diagnosis (D, C17).
local function show_diagnosis(item, connection)
    local verdict = verdict_of(connection)
    add(item, "diagnosis", verdict.diagnosis)
    if needed.diagnosis_text then
        add(item, "diagnosis_text", sentence_of(connection, verdict))
    end
    add(item, "suspect", verdict.suspect)
    if needed.evidence then
        add(item, "evidence", evidence_text(verdict))
    end
    if verdict.frame then
        add(item, "evidence_frame", verdict.before)
        add(item, "evidence_frame", verdict.frame)
    end
end

--- Adds the subtree of the connection (C17). Where the tree is not displayed, its fields need none.
-- @param connection the tracker's record, which holds the values for the capture so far
local function show_connection(item, annotation, connection)
    local summary, subtree = nil, item
    if needed[SUMMARY] then
        summary = summary_of(connection)
    end
    if is_visible then
        subtree = item:add(connection_text(summary))
        subtree:set_generated()
    end
    if not annotation.sender then -- a network error
        add(subtree, "stream", annotation.stream)
    end
    if summary then
        add(subtree, "establishment", summary.establishment)
        add(subtree, "termination", summary.termination)
        add(subtree, "closed_by", summary.closed_by)
        add(subtree, "reset_by", summary.reset_by)
        add(subtree, "conn_state", summary.conn_state)
        add(subtree, "history", summary.history)
    end
    if needed[VERDICT] then
        show_diagnosis(subtree, connection)
    end
    if annotation.role then
        add(subtree, "sack_permitted", annotation.sack_permitted)
        add(subtree, "timestamps", annotation.timestamps)
        add(subtree, "ecn", annotation.ecn)
    end
end

--- Returns the expert information of a diagnosis, or nil. What a reset left unread when both ends had closed is as
-- harmless as the reset.
local function expert_for(connection, diagnosis_word)
    if diagnosis_word == "reset-with-unread-data" and both_closed(connection) then
        return expert_of_diagnosis["reset-after-close"]
    end
    return expert_of_diagnosis[diagnosis_word]
end

--- Adds the expert information on the diagnosis to a frame that shows it.
-- @param is_new true if the frame was not processed before
-- @param number of the frame
local function show_diagnosis_expert(item, connection, is_new, number)
    local verdict = verdict_of(connection)
    local item_of = expert_for(connection, verdict.diagnosis)
    if is_new and verdict.diagnosis == "peer-vanished" and not connection.trace.reset_kind then
        return -- the peer may still answer
    elseif item_of and (verdict.frame == number or verdict.before == number) then
        item:add_proto_expert_info(item_of, sentence_of(connection, verdict))
    end
end

--- Adds the expert information on each anomaly, on a slow handshake and on the diagnosis.
-- @param number of the frame
local function show_experts(item, annotation, connection, is_new, number)
    if annotation.anomaly then
        for anomaly in annotation.anomaly:gmatch("[^+]+") do
            item:add_proto_expert_info(expert_of[anomaly])
        end
    end
    local time, seconds = annotation.handshake_time, 0
    if time then
        local limit = proto.prefs.slow_handshake
        seconds = time:tonumber()
        if limit > 0 and seconds * 1000 > limit then
            item:add_proto_expert_info(slow_handshake, format("The handshake took %.3f s.", seconds))
        end
    end
    if connection.usual then
        local name = annotation.diagnosis
        if name then
            item:add_proto_expert_info(expert_of_diagnosis[name], common_sentence_of(name))
        end
    elseif not is_new or connection.trace.marked == number or seconds >= SLOW then -- few new frames show one
        show_diagnosis_expert(item, connection, is_new, number)
    end
end

-- Our dissector.
local own_dissector
-- In tshark, what is_referenced returns for all new frames; nil if that is not known yet.
local is_referenced_by_new

--- Returns whether Wireshark needs any of our fields in this tree: it displays the tree, or a filter, a column or a tap
-- uses them.
-- @param is_new true if the frame was not processed before
local function is_referenced(tree, is_new)
    local is_constant = is_new and not has_window
    if is_constant and is_referenced_by_new ~= nil then
        return is_referenced_by_new
    end
    if not own_dissector then
        own_dissector = Dissector.get("tcp_handshake")
        add_item, set_generated, referenced = tree.add, tree.set_generated, tree.referenced
    end
    local answer = referenced(tree, own_dissector)
    if is_constant then
        is_referenced_by_new = answer
    end
    return answer
end

--- Adds the tree of a segment or network error.
-- @param annotation of it; if the tree is not referenced, the notes of Tracker:take do
-- @param connection the tracker's record
-- @param needs_fields what is_referenced returned
-- @param is_new true if the frame was not processed before
-- @param number of the frame
local function show(annotation, connection, tree, needs_fields, is_new, number)
    if not needs_fields then
        -- Taps read expert information also where no field is needed.
        show_experts(tree, annotation, connection, is_new, number)
        return
    end
    prepare(tree, is_new)
    local item
    if is_visible then
        item = add_generated(tree, proto, summary_text(annotation))
    else
        item = add_item(tree, proto)
    end
    if needed[EVENT] and (annotation.role or annotation.anomaly or annotation.explanation) then
        show_event(item, annotation)
    end
    add(item, "sender", annotation.sender)
    add(item, "client_state", annotation.client_state)
    add(item, "server_state", annotation.server_state)
    if annotation.role and needed[OFFER] then
        add(item, annotation.sender .. "_mss", annotation.mss)
        add(item, annotation.sender .. "_window_scale", annotation.window_scale)
        add(item, annotation.sender .. "_fast_open", annotation.fast_open)
    end
    if needed[CONNECTION] then
        show_connection(item, annotation, connection)
    end
    show_experts(item, annotation, connection, is_new, number)
end

return {
    is_referenced = is_referenced, show = show, info_note = info_note, has_notes = has_notes, show_notes = show_notes,
}

end

-- ==== plugin/src/wireshark/dissector.lua
modules["wireshark.dissector"] = function()

-- The post-dissector: gives the segments and network errors of each frame to the tracker, and shows the annotations.
--
-- SPDX-License-Identifier: GPL-2.0-or-later

local annotator, protocol = require("annotator"), require("wireshark.fields")
local reader, items = require("wireshark.reader"), require("wireshark.tree")

local proto, follow = protocol.proto, annotator.follow
local get_port, get_stream = reader.get_port, reader.get_stream
local get_time = reader.get_time
local value_of, last_value, read_number = reader.value_of, reader.last_value, reader.read_number
local read_usual, read_other, usual_segment = reader.read_usual, reader.read_other, reader.usual_segment
local read_offer_and_identity, has_plain_options = reader.read_offer_and_identity, reader.has_plain_options
local read_network = reader.read_network
local network_error, read_segment, read_segments = reader.network_error, reader.read_segment, reader.read_segments
local getter = reader.getter
local is_referenced, show, info_note = items.is_referenced, items.show, items.info_note
local has_notes, show_notes = items.has_notes, items.show_notes

-- The tracker of the present capture, and its connections.
local tracker, connections
-- Number of the last frame that was processed. A frame is new if its number is higher, whatever pinfo.visited says: in
-- plain tshark -2 the first pass has no fields, so that the second pass is the first to see a segment.
local last_frame
-- In two passes with a read filter (tshark -2 -R), Wireshark gives the number of a frame that the filter drops to the
-- next frame, too. By such a number and by stream: the ordinal of the first segment of the frame that kept the number.
local first_ordinals
-- The latest time of a segment so far in seconds, which the tracker asks for when it needs the end of the capture (D).
local latest_seconds
-- What gets pinfo.number and pinfo.abs_ts.
local number_of, seconds_of

--- Returns how many nanoseconds an NSTime is.
local function nanoseconds(time)
    return time.secs * 1000000000 + time.nsecs
end

--- Returns the offer and the identity of a segment that was taken with a header instead. Of a SYN or SYN-ACK, that has
-- plain options.
local function read_plain_options(header, flags, identification)
    return read_offer_and_identity(header, flags, identification, true)
end

--- Forgets the capture.
local function reset()
    -- Without the first function: NSTime values subtract as numbers do.
    tracker = annotator.new(nil, nanoseconds, function()
        return latest_seconds
    end, read_plain_options)
    connections = tracker.connections
    last_frame, first_ordinals, latest_seconds = 0, {}, -math.huge
end

--- Judges one segment of a frame, or recalls its annotation, and shows it.
-- @param segment as read_segment gives it
-- @param number of the frame
-- @param is_new true if the frame was not processed before
-- @param needs_fields what is_referenced returned
-- @param identification, hop_limit of the IP header; identification is nil if neither is known
-- @return its annotation, or the notes on it, or nil
local function process(segment, number, is_new, pinfo, tree, needs_fields, identification, hop_limit)
    local stream, flags = segment.stream, segment.flags
    local annotation, connection
    if is_new then
        local offer, identity, is_ipv6
        local header = segment.header
        if header and not identification then
            connection = connections[stream]
            identification, hop_limit, is_ipv6 = read_network(pinfo, connection and connection.is_ipv6)
            offer, identity = read_offer_and_identity(header, flags, identification, false)
        elseif not header or flags % 4 < 2 or has_plain_options(header) then
            offer, identity = header, identification -- the tracker calls read_plain_options if it needs them
        else
            offer, identity = read_offer_and_identity(header, flags, identification, false)
        end
        local seconds = seconds_of(pinfo)
        if seconds > latest_seconds then
            latest_seconds = seconds
        end
        local take = needs_fields and tracker.segment or tracker.take
        annotation = take(tracker, stream, number, value_of(get_time()), segment.source, segment.source_port,
            segment.destination, segment.destination_port, flags, segment.seq, segment.ack, segment.length,
            offer, identity, hop_limit, seconds)
        connection = connections[stream]
        if is_ipv6 ~= nil and not connection.usual then
            connection.is_ipv6 = is_ipv6
        end
    else
        local first = first_ordinals[number] and first_ordinals[number][stream] or 0
        local ordinal = first + segment.ordinal
        annotation, connection = tracker:recall(stream, number, ordinal, segment.source, segment.source_port, flags,
            segment.seq, segment.length)
    end
    if annotation then
        show(annotation, connection, tree, needs_fields, is_new, number)
    end
    return annotation
end

--- Takes the only segment of a new frame if its bytes say all that is to be known of it, as those of most segments do:
-- it is quiet, so that nothing is to be done but to follow it, or it carries no payload.
-- @param tvb the bytes of the frame
-- @param info the occurrence of its tcp.stream
-- @param stream its value
-- @return whether it was taken
local function take_quickly(tvb, info, stream, number, pinfo, tree, needs_fields)
    local source_port, destination_port, flags, seq, ack, length, identification, hop_limit = read_usual(tvb, info)
    local connection = connections[stream]
    local is_quiet = connection and connection.is_quiet
    if is_quiet and not source_port then
        source_port, destination_port, flags, seq, ack, length = read_other(tvb, info)
    end
    if not source_port then
        return false
    end
    if is_quiet and flags % 8 == 0 and flags % 32 >= 16 then -- G7: ACK, but neither FIN nor SYN nor RST
        local seconds = seconds_of(pinfo)
        local sender, is_first = follow(connection, source_port, destination_port, seq, ack, length, seconds)
        if sender then
            if seconds > latest_seconds then
                latest_seconds = seconds
            end
            if is_first then
                if not identification or length > 0 then -- the payload can hold another IP header
                    hop_limit = select(2, read_network(pinfo, connection.is_ipv6))
                end
                tracker:note_hop_limit(stream, sender, hop_limit)
            end
            if needs_fields then
                local annotation
                annotation, connection = tracker:followed(stream, sender, length)
                show(annotation, connection, tree, true, true, number)
            end
            return true
        end
    end
    if not identification or length > 0 then
        return false
    end
    local segment = usual_segment(connection, stream, pinfo, source_port, destination_port, flags, seq, ack,
        identification)
    if not segment then
        return false
    end
    local annotation = process(segment, number, true, pinfo, tree, needs_fields, identification, hop_limit)
    if has_notes(true) then
        show_notes(info_note(annotation), pinfo, true)
    end
    return true
end

--- Judges or recalls the network error of a frame without segments, if it holds one (N1), and shows it.
local function dissect_error(number, is_new, pinfo, tree)
    local network, is_unreachable, code = network_error()
    local annotation = tracker:recall_error(number)
    if network and is_new then
        local source, destination = last_value(network.get_source()), last_value(network.get_destination())
        local ports = { get_port() }
        if source and destination and #ports > 0 then
            annotation = tracker:network_error(number, value_of(get_time()), source, read_number(ports[#ports], 0, 2),
                destination, read_number(ports[#ports], 2, 2), last_value(get_stream()),
                is_unreachable and network.unreachable or nil, code, value_of(network.get_source()))
        end
    end
    if annotation then
        show(annotation, connections[annotation.stream], tree, is_referenced(tree, is_new), is_new, number)
        show_notes(is_unreachable and "[SYN unreachable] " or "[SYN not delivered] ", pinfo, is_new)
    end
end

--- Prepares for a frame that got the number of the one before it, because a read filter dropped that one.
local function take_over(number)
    local first = first_ordinals[number] or {}
    for _, stream in ipairs({ get_stream() }) do
        local connection = tracker.connections[stream()]
        if connection and connection.last_frame == number then
            first[stream()] = connection.last_ordinal + 1
        end
    end
    first_ordinals[number] = first
    tracker.errors[number] = nil
end

--- Dissects a frame. Wireshark calls this after all other dissectors.
function proto.dissector(tvb, pinfo, tree)
    local info, another_stream = get_stream()
    if not info and not get_port() then
        return
    end
    local stream = info and info()
    if not number_of then
        number_of, seconds_of = getter(pinfo, "number"), getter(pinfo, "abs_ts")
    end
    local number = number_of(pinfo)
    local is_new = number > last_frame
    if number == last_frame and not pinfo.visited then
        is_new = true
        take_over(number)
    end
    local needs_fields = is_referenced(tree, is_new)
    if is_new then
        last_frame = number
        if stream and not another_stream
            and take_quickly(tvb, info, stream, number, pinfo, tree, needs_fields) then
            return
        end
    elseif stream and not (another_stream or needs_fields or tracker:is_marked(stream, number)) then
        return
    end
    -- Every header has a source port: one of them means one header, and the other fields need not be counted (G2).
    local _, another_port = get_port()
    local notes, is_segment, is_unclear = "", false, false
    if another_port then
        local segments
        segments, is_unclear = read_segments(pinfo)
        is_segment = #segments > 0
        for index = 1, #segments do
            local annotation = process(segments[index], number, is_new, pinfo, tree, needs_fields)
            notes = notes .. (annotation and info_note(annotation) or "")
        end
    else
        local segment = read_segment(tracker, info, stream, pinfo)
        if segment then
            is_segment = true
            local annotation = process(segment, number, is_new, pinfo, tree, needs_fields)
            notes = annotation and has_notes(is_new) and info_note(annotation) or ""
        end
    end
    show_notes(notes, pinfo, is_new)
    if not (is_segment or is_unclear) then -- N1
        dissect_error(number, is_new, pinfo, tree)
    end
end

proto.init = reset
reset()
register_postdissector(proto)

--- Returns the tracker of the present capture.
local function current_tracker()
    return tracker
end

return { current_tracker = current_tracker }

end

-- ==== plugin/src/wireshark/tools.lua
modules["wireshark.tools"] = function()

-- The tables of the connections and of their diagnoses: the statistics for tshark, and the entries of Wireshark's Tools
-- menu.
--
-- SPDX-License-Identifier: GPL-2.0-or-later

local summary_of = require("connection_row").summary_of
local verdict_of, sentences = require("diagnosis").verdict_of, require("wireshark.sentences")
local current_tracker = require("wireshark.dissector").current_tracker

local max, min, format, concat, tostring = math.max, math.min, string.format, table.concat, tostring

local HEADINGS = {
    "stream", "frame", "client", "server", "establishment", "handshake_ms", "termination", "closed_by",
    "reset_by", "teardown_ms", "conn_state", "history", "anomalies",
}
local DIAGNOSIS_HEADINGS = { "connections", "diagnosis", "suspect", "display filter" }
local IS_NUMBER = { stream = true, frame = true, handshake_ms = true, teardown_ms = true, connections = true }
-- A window with more rows takes long to open.
local MAX_ROWS = 10000
-- How many connections of each diagnosis the window of the diagnoses lists.
local MAX_MEMBERS = 100
-- How many of the slowest handshakes the menu entry shows.
local SLOWEST_COUNT = 10

--- Returns an address, or the name that Wireshark gives it, with a port. Control characters are replaced, because names
-- come from the network.
local function end_text(address, port)
    local text = tostring(address):gsub("%c", "?")
    return format(text:find(":", 1, true) and "[%s]:%d" or "%s:%d", text, port)
end

--- Returns a time in milliseconds as text; empty if there is none.
local function milliseconds(time)
    return time and format("%.3f", time:tonumber() * 1000) or ""
end

--- Returns the connections of the capture so far, ordered by stream.
-- @param max_rows how many at most
-- @return a list of tables with a string for each of HEADINGS
-- @return how many connections there are
local function connection_rows(max_rows)
    local tracker, streams = current_tracker(), {}
    for stream in pairs(tracker.connections) do
        streams[#streams + 1] = stream
    end
    table.sort(streams)
    local rows = {}
    for index = 1, min(#streams, max_rows) do
        local connection = tracker:record(streams[index])
        local summary = summary_of(connection)
        rows[index] = {
            stream = format("%d", connection.stream), frame = format("%d", connection.first_frame),
            client = end_text(summary.client, summary.client_port),
            server = end_text(summary.server, summary.server_port),
            establishment = summary.establishment, handshake_ms = milliseconds(summary.handshake_time),
            termination = summary.termination, closed_by = summary.closed_by or "",
            reset_by = summary.reset_by or "",
            teardown_ms = milliseconds(summary.teardown_time),
            conn_state = summary.conn_state, history = summary.history or "", anomalies = summary.anomalies or "",
        }
    end
    return rows, #streams
end

--- Returns rows as CSV with a heading.
local function csv_text(rows)
    local lines = { concat(HEADINGS, ",") }
    for index, row in ipairs(rows) do
        local cells = {}
        for column, heading in ipairs(HEADINGS) do
            local text = row[heading]
            cells[column] = text:find('[",]') and '"' .. text:gsub('"', '""') .. '"' or text
        end
        lines[index + 1] = concat(cells, ",")
    end
    return concat(lines, "\n") .. "\n"
end

--- Returns rows as a table in columns.
local function table_text(rows, headings)
    local lines = {}
    for index = 0, #rows do
        lines[index + 1] = ""
    end
    for _, heading in ipairs(headings) do
        local width = #heading
        for _, row in ipairs(rows) do
            width = max(width, #row[heading])
        end
        for index = 0, #rows do
            local text = index == 0 and heading or rows[index][heading]
            local space = (" "):rep(width - #text)
            lines[index + 1] = lines[index + 1] .. (IS_NUMBER[heading] and space .. text or text .. space) .. "  "
        end
    end
    return ((concat(lines, "\n") .. "\n"):gsub(" +\n", "\n"))
end

--- Returns rows as short lines, because a window is narrow and breaks long ones.
-- @param count how many connections there are
local function record_text(rows, count)
    local lines = {}
    local function add_line(template, ...)
        lines[#lines + 1] = format(template, ...)
    end
    for _, row in ipairs(rows) do
        add_line("stream %s, frame %s: %s → %s", row.stream, row.frame, row.client, row.server)
        add_line("    opening: %s%s", row.establishment,
            row.handshake_ms ~= "" and " in " .. row.handshake_ms .. " ms" or "")
        add_line("    closing: %s%s%s%s", row.termination, row.closed_by ~= "" and " by " .. row.closed_by or "",
            row.reset_by ~= "" and row.reset_by ~= row.closed_by and ", reset by " .. row.reset_by or "",
            row.teardown_ms ~= "" and " in " .. row.teardown_ms .. " ms" or "")
        if row.anomalies ~= "" then
            add_line("    unusual: %s", (row.anomalies:gsub("%+", ", ")))
        end
    end
    if count > #rows then
        add_line("... and %d more: Copy as CSV has all of them.", count - #rows)
    end
    return concat(lines, "\n")
end

--- Returns the connections of the capture so far by their diagnosis and suspect, the most harmful first.
-- @return a list of tables with a string for each of DIAGNOSIS_HEADINGS, and members: a list of connections by stream
local function diagnosis_groups()
    local groups, by_name = {}, {}
    local tracker = current_tracker()
    for stream in pairs(tracker.connections) do
        local connection = tracker:record(stream)
        local verdict = verdict_of(connection)
        local diagnosis, suspect = verdict.diagnosis, verdict.suspect or ""
        local name = diagnosis .. " " .. suspect
        local group = by_name[name]
        if not group then
            group = {
                diagnosis = diagnosis, suspect = suspect, members = {},
                ["display filter"] = format('tcp_handshake.diagnosis == "%s" && %s', diagnosis,
                    suspect == "" and "!tcp_handshake.suspect" or format('tcp_handshake.suspect == "%s"', suspect)),
            }
            by_name[name], groups[#groups + 1] = group, group
        end
        group.members[#group.members + 1] = connection
    end
    for _, group in ipairs(groups) do
        group.connections = format("%d", #group.members)
        table.sort(group.members, function(one, other)
            return one.stream < other.stream
        end)
    end
    table.sort(groups, function(one, other)
        local rank, other_rank = sentences.rank_of[one.diagnosis], sentences.rank_of[other.diagnosis]
        if rank ~= other_rank then
            return rank < other_rank
        end
        return one.suspect < other.suspect
    end)
    return groups
end

--- Returns the groups of diagnosis_groups as short lines for a window.
local function diagnosis_text(groups)
    local lines = {}
    local function add_line(template, ...)
        lines[#lines + 1] = format(template, ...)
    end
    for _, group in ipairs(groups) do
        local members = group.members
        add_line("%s%s: %d", group.diagnosis, group.suspect ~= "" and ", suspect: " .. group.suspect or "", #members)
        add_line("    %s", group["display filter"])
        for index = 1, min(#members, MAX_MEMBERS) do
            local connection = members[index]
            local client, server = connection.client, 3 - connection.client
            add_line("    stream %d, frame %d: %s → %s", connection.stream,
                verdict_of(connection).frame or connection.first_frame,
                end_text(connection.addresses[client], connection.ports[client]),
                end_text(connection.addresses[server], connection.ports[server]))
            if index == 1 then
                add_line("        %s", sentences.sentence_of(connection, verdict_of(connection)))
            end
        end
        if #members > MAX_MEMBERS then
            add_line("    ... and %d more: the filter finds them.", #members - MAX_MEMBERS)
        end
    end
    return concat(lines, "\n")
end

-- tshark -q -z tcp_handshake,connections
register_stat_cmd_arg("tcp_handshake,connections", function()
    local listener = Listener.new()
    function listener.draw()
        local rows = connection_rows(math.huge)
        io.stdout:write(table_text(rows, HEADINGS))
    end
end)

-- tshark -q -z tcp_handshake,diagnosis
register_stat_cmd_arg("tcp_handshake,diagnosis", function()
    local listener = Listener.new()
    function listener.draw()
        io.stdout:write(table_text(diagnosis_groups(), DIAGNOSIS_HEADINGS))
    end
end)

--- Opens a window with a text.
local function open_window(title, text)
    local window = TextWindow.new(title)
    window:set_atclose(function()
        window = nil -- the reference is kept until here, since Lua closes a window that it collects as garbage
    end)
    window:set(text)
    return window
end

if gui_enabled() then
    register_menu("TCP Handshake: diagnosis", function()
        open_window("TCP Handshake: diagnosis", diagnosis_text(diagnosis_groups()))
    end, MENU_TOOLS_UNSORTED)

    register_menu("TCP Handshake: connections", function()
        local rows, count = connection_rows(MAX_ROWS)
        local window = open_window("TCP Handshake: connections", record_text(rows, count))
        window:add_button("Copy as CSV", function()
            copy_to_clipboard(csv_text((connection_rows(math.huge))))
        end)
    end, MENU_TOOLS_UNSORTED)

    register_menu("TCP Handshake: failed opens", function()
        set_filter("tcp_handshake.establishment in "
            .. '{"refused", "unanswered", "invalid-answer", "unreachable", "half-open", "aborted"}')
        apply_filter()
    end, MENU_TOOLS_UNSORTED)

    register_menu("TCP Handshake: slowest handshakes", function()
        local tracker, timed = current_tracker(), {}
        for stream in pairs(tracker.connections) do
            local connection = tracker:record(stream)
            if connection.handshake_time then
                timed[#timed + 1] = connection
            end
        end
        table.sort(timed, function(one, other)
            return other.handshake_time < one.handshake_time
        end)
        local streams = {}
        for index = 1, min(#timed, SLOWEST_COUNT) do
            streams[index] = format("%d", timed[index].stream)
        end
        if #streams == 0 then
            report_failure("TCP Handshake: the capture holds no handshake from SYN to third step.")
            return
        end
        set_filter("tcp_handshake.handshake_step && tcp.stream in {" .. concat(streams, ", ") .. "}")
        apply_filter()
    end, MENU_TOOLS_UNSORTED)
end

end

-- ==== plugin/src/main.lua
modules["main"] = function()

-- Where the plugin begins: returns the state machine without Wireshark, else registers the plugin in Wireshark.
--
-- SPDX-License-Identifier: GPL-2.0-or-later

local vocabulary, annotator = require("vocabulary"), require("annotator")

local VERSION = "0.1.0" -- `make plugin` puts the version of pybridge/version.py here

if not Proto then
    return { new = annotator.new, VERSION = VERSION, ANOMALIES = vocabulary.ANOMALIES }
end

local version = tostring(get_version and get_version() or "an older one")
if (tonumber(version:match("^%d+")) or 0) < 4 then
    local complain = report_failure or print
    complain(string.format("tcp_handshake.lua needs Wireshark 4.0 or later; this is %s. It is not loaded.", version))
    return
end

-- Wireshark can load the file twice, where it is installed and named by -X lua_script too. The first one stays.
local is_there, loaded_before = pcall(Dissector.get, "tcp_handshake")
if is_there and loaded_before then
    return
end

if set_plugin_info then
    set_plugin_info({
        version = VERSION,
        description = "Annotates how TCP connections are opened, closed and aborted",
    })
end

require("wireshark.dissector")
require("wireshark.tools")

end

return require("main")
