-- T. Closing: how acknowledgements of a FIN, payload and FINs change the record.
--
-- T applies to plain and FIN segments that H9 has not stopped, in the order T1, T2, T3. A FIN occupies the sequence
-- number after its payload (T4).
--
-- SPDX-License-Identifier: GPL-2.0-or-later

local vocabulary, state, notes = require("vocabulary"), require("state"), require("notes")

local format = string.format
local MODULUS, HALF = vocabulary.MODULUS, vocabulary.HALF
local CLOSED, SYN_RECEIVED, ESTABLISHED = vocabulary.CLOSED, vocabulary.SYN_RECEIVED, vocabulary.ESTABLISHED
local FIN_WAIT_1, FIN_WAIT_2, CLOSE_WAIT = vocabulary.FIN_WAIT_1, vocabulary.FIN_WAIT_2, vocabulary.CLOSE_WAIT
local CLOSING, LAST_ACK, TIME_WAIT = vocabulary.CLOSING, vocabulary.LAST_ACK, vocabulary.TIME_WAIT
local FIN, ACK_OF_FIN = vocabulary.FIN, vocabulary.ACK_OF_FIN
local distance = state.distance
local add_role, add_teardown_step, add_anomaly = notes.add_role, notes.add_teardown_step, notes.add_anomaly
local answer, explain = notes.answer, notes.explain

--- Judges whether a segment acknowledges the peer's FIN (T1).
-- @return acknowledged: true if it is an ACK-OF-FIN; first: true if it is the first of this FIN
local function judge_ack_of_fin(connection, segment)
    local peer = connection[segment.peer]
    if not peer.fin_seq or peer.fin_acked then
        return false, false
    end
    local expected = (peer.fin_seq + 1) % MODULUS
    if distance(segment.ack, expected) >= HALF then
        return false, false
    end
    add_role(segment, ACK_OF_FIN)
    add_teardown_step(segment, peer.fin_step + 1)
    if not segment.responds_to then
        answer(segment, peer.fin_frame, peer.fin_frame_time)
    end
    if segment.explanations then
        local data = peer.fin_length > 0 and format(" + %.0f", peer.fin_length) or ""
        local beyond = segment.ack ~= expected and format("%.0f is after ", segment.ack) or ""
        explain(segment, "acknowledges the %s's FIN: %s%.0f = %.0f%s + 1", segment.peer_name, beyond, expected,
            distance(peer.fin_seq, peer.fin_length), data)
    end
    local first = not peer.fin_was_acked
    peer.fin_acked, peer.fin_was_acked = true, true
    if peer.state == FIN_WAIT_1 then
        peer.state = FIN_WAIT_2
    elseif peer.state == CLOSING then
        peer.state = TIME_WAIT
    elseif peer.state == LAST_ACK then
        peer.state = CLOSED
    end
    return true, first
end

--- Returns whether the end of a payload is beyond its sender's own FIN (T2).
local function is_after_fin(fin_seq, seq, length)
    if not fin_seq then
        return false
    end
    local beyond = distance(seq + length, fin_seq)
    return beyond >= 1 and beyond < HALF
end

--- Returns whether payload of the sender goes to a peer that has closed its own direction (T2).
local function is_half_closed(sender, peer)
    return sender.state == CLOSE_WAIT and peer.fin_acked == true
end

--- Delivers a FIN to the peer (T3).
local function deliver_fin(peer)
    if peer.state == ESTABLISHED or peer.state == SYN_RECEIVED then
        peer.state = CLOSE_WAIT
    elseif peer.state == FIN_WAIT_1 then
        peer.state = CLOSING
    elseif peer.state == FIN_WAIT_2 then
        peer.state = TIME_WAIT
    end
end

--- Remembers the number of a FIN, after its payload (T4), and its frame, the latest transmission.
local function remember_fin(sender, segment)
    sender.fin_seq = (segment.seq + segment.length) % MODULUS
    sender.fin_length = segment.length
    sender.fin_frame, sender.fin_frame_time = segment.frame, segment.time
end

--- Judges the sender's first FIN (T3).
-- @param acknowledges_first true if the segment is the first ACK-OF-FIN of the peer's FIN
local function judge_first_fin(connection, segment, acknowledges_first)
    local sender, peer = connection[segment.sender], connection[segment.peer]
    local attempt = connection.attempt
    remember_fin(sender, segment)
    sender.fin_acked = false
    if not peer.fin_seq then
        sender.fin_step = 1
        if sender.state == ESTABLISHED or sender.state == SYN_RECEIVED then
            sender.state = FIN_WAIT_1
        end
    elseif peer.fin_acked then
        sender.fin_step = 3
        attempt.merged = attempt.merged or acknowledges_first
        if sender.state == CLOSE_WAIT then
            sender.state = LAST_ACK
        end
    else
        sender.fin_step = 1
        attempt.simultaneous_close = true
        add_anomaly(segment, "simultaneous-close")
        if sender.state == CLOSE_WAIT then
            sender.state = CLOSING
        end
    end
    if not attempt.first_fin_by then
        attempt.first_fin_by, attempt.first_fin_time = segment.sender, segment.time
    end
    deliver_fin(peer)
end

--- Judges another FIN of the sender (T5).
local function judge_another_fin(connection, segment)
    local sender, peer = connection[segment.sender], connection[segment.peer]
    local simultaneous = connection.attempt.simultaneous_close
    if distance(segment.seq + segment.length, sender.fin_seq) == 0 then
        add_anomaly(segment, "fin-retransmission")
    end
    remember_fin(sender, segment)
    if sender.fin_step == 1 and not simultaneous and peer.fin_acked then
        return
    end
    sender.fin_acked = false
    if sender.state == FIN_WAIT_2 then
        sender.state = FIN_WAIT_1
    elseif sender.state == TIME_WAIT then
        sender.state = simultaneous and CLOSING or FIN_WAIT_1
    elseif sender.state == CLOSED then
        sender.state = LAST_ACK
    end
    deliver_fin(peer)
end

--- Judges a plain or FIN segment that H9 has not stopped (T1 to T7).
local function judge_closing(connection, segment)
    local sender, peer = connection[segment.sender], connection[segment.peer]
    if sender.progress < 3 then
        sender.progress = 3
        sender.first_seq, sender.first_ack = segment.seq, segment.ack
    end
    local acknowledges, acknowledges_first = judge_ack_of_fin(connection, segment)
    if acknowledges and sender.fin_acked then -- T7
        connection.attempt.close_complete = true
        segment.teardown_time = segment.subtract(segment.time, connection.attempt.first_fin_time)
    end
    if segment.length > 0 then -- T2
        if is_half_closed(sender, peer) then
            add_anomaly(segment, "half-close-data")
        end
        if is_after_fin(sender.fin_seq, segment.seq, segment.length) then
            add_anomaly(segment, "data-after-fin")
        end
    end
    if segment.kind == FIN then
        add_role(segment, FIN)
        local again = sender.fin_seq ~= nil
        if again then
            judge_another_fin(connection, segment)
        else
            judge_first_fin(connection, segment, acknowledges_first)
        end
        add_teardown_step(segment, sender.fin_step)
        if segment.explanations then
            local verb = again and "closes its direction again" or "closes its direction"
            local sum = segment.length > 0 and format(" = %.0f + %.0f", segment.seq, segment.length) or ""
            explain(segment, "%s: the FIN occupies sequence number %.0f%s", verb, sender.fin_seq, sum)
        end
    end
end

return { judge_closing = judge_closing, is_after_fin = is_after_fin, is_half_closed = is_half_closed }
