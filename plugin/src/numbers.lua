-- F. Following the numbers: how far each end has sent, how far that has arrived in order, and how far it has
-- acknowledged.
--
-- SPDX-License-Identifier: GPL-2.0-or-later

local vocabulary, state = require("vocabulary"), require("state")

local MODULUS, HALF, LARGEST_WINDOW = vocabulary.MODULUS, vocabulary.HALF, vocabulary.LARGEST_WINDOW
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
    is_wild = is_wild, follow_quiet = follow_quiet,
}
