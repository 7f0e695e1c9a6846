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
-- Rule numbers in comments (G1, H8.3 ...) are those of the specification of the annotations.
--
-- SPDX-License-Identifier: GPL-2.0-or-later

local VERSION = "0.1.0"

local floor, max, min = math.floor, math.max, math.min
local format = string.format
local concat = table.concat
local tostring = tostring

-- ====================================================================================================== constants

local MODULUS = 4294967296
local HALF = 2147483648
-- X2: what can have followed a SYN-ACK before its first acknowledgement: an unscaled window and a FIN.
local FIRST_WINDOW = 65536
-- Several segments of one connection in one frame (G2) are told apart by an ordinal below this.
local ORDINALS = 65536

local CLOSED, LISTEN = "CLOSED", "LISTEN"
local SYN_SENT, SYN_RECEIVED, ESTABLISHED = "SYN-SENT", "SYN-RECEIVED", "ESTABLISHED"
local FIN_WAIT_1, FIN_WAIT_2, CLOSE_WAIT = "FIN-WAIT-1", "FIN-WAIT-2", "CLOSE-WAIT"
local CLOSING, LAST_ACK, TIME_WAIT = "CLOSING", "LAST-ACK", "TIME-WAIT"

-- X: states of both ends of a connection that is over.
local IS_OVER = { [CLOSED] = true, [LISTEN] = true, [TIME_WAIT] = true }
-- X3: states of both ends of an attempt that was opened.
local IS_OPENED = {
    [ESTABLISHED] = true, [FIN_WAIT_1] = true, [FIN_WAIT_2] = true, [CLOSE_WAIT] = true,
    [CLOSING] = true, [LAST_ACK] = true, [TIME_WAIT] = true,
}

-- G7. Kinds that are roles too have the role's name.
local INVALID, PLAIN = "invalid", "plain"
local SYN, SYN_ACK, FIN, RST = "SYN", "SYN-ACK", "FIN", "RST"
local HANDSHAKE_ACK, ACK_OF_FIN = "HANDSHAKE-ACK", "ACK-OF-FIN"

-- A. In the order of the table.
local ANOMALIES = {
    "syn-retransmission", "syn-ack-retransmission", "fin-retransmission", "connection-refused", "unreachable",
    "handshake-aborted", "simultaneous-open", "simultaneous-close", "syn-with-data", "half-close-data",
    "data-after-fin", "rst-after-fin", "segment-after-close", "port-reuse", "ack-mismatch", "invalid-flags",
    "syn-on-established",
}
-- A3
local IS_RETRANSMISSION = {
    ["syn-retransmission"] = true, ["syn-ack-retransmission"] = true, ["fin-retransmission"] = true,
}

-- ================================================================================================== state machine
-- Plain Lua: nothing of Wireshark down to the next double line.

--- How far number a is after number b.
-- @param a, b sequence or acknowledgement numbers
-- @return (a - b) mod 2^32
local function distance(a, b)
    return (a - b) % MODULUS
end

--- Kind of a segment (G7).
-- @param flags value of tcp.flags
-- @return one of INVALID, PLAIN, SYN, SYN_ACK, FIN, RST
local function kind_of(flags)
    local fin, syn = flags % 2 >= 1, flags % 4 >= 2
    local ack = flags % 32 >= 16
    if flags % 8 >= 4 then
        return RST
    elseif (syn and fin) or not (syn or ack) then
        return INVALID
    elseif syn then
        return ack and SYN_ACK or SYN
    end
    return fin and FIN or PLAIN
end

--- What is remembered of an end (X) before it sent anything.
-- @param state its state
local function new_end(state)
    return {
        state = state,
        progress = 0,
        syn_length = 0,
        -- syn_seen, synack_seen, isn, syn_time, syn_frame, syn_frame_time, synack_frame, synack_frame_time,
        -- synack_ack, awaiting, first_seq, first_ack, rejected, fin_seq, fin_start, fin_length, fin_frame,
        -- fin_frame_time, fin_step, fin_acked, fin_was_acked: absent so far
    }
end

--- Forgets the FIN of an end.
local function forget_fin(this)
    this.fin_seq, this.fin_start, this.fin_length, this.fin_frame = nil, nil, nil, nil
    this.fin_frame_time, this.fin_step, this.fin_acked, this.fin_was_acked = nil, nil, nil, nil
end

--- Is a connection over (X)?
local function is_over(connection)
    return not connection.fresh and IS_OVER[connection[1].state] and IS_OVER[connection[2].state] or false
end

--- Is an acknowledgement number acceptable for the SYN of an end (X2)?
-- @param this the end
-- @param ack the number
-- @param limit how far it may be beyond the SYN
local function is_acceptable(this, ack, limit)
    return this.isn ~= nil and distance(ack, this.isn + 1) <= limit
end

--- Has an end no connection of its own (yet, or any more)?
local function is_idle(this)
    return this.state == LISTEN or this.state == CLOSED
end

--- Is an end waiting for its SYN to be answered or acknowledged?
local function is_opening(this)
    return this.state == SYN_SENT or this.state == SYN_RECEIVED
end

--- H4, H8.4: was a SYN or SYN-ACK captured after a segment that came next to it, of either end?
local function precedes_first(sender, peer, seq)
    local following = (seq + 1) % MODULUS
    return following == sender.first_seq or following == peer.first_ack
end

--- X5
local function is_passive_opener(this)
    return this.synack_seen and not this.syn_seen
end

--- Name of an end by the present choice of client (E2).
local function end_name(connection, index)
    return index == connection.client and "client" or "server"
end

-- Notes on the segment being judged: a table made by Tracker:segment with frame, time, from (index of S), to (index
-- of P), kind, seq, ack, length, has_ack, and what the rules say of it: roles, steps, anomalies, words.

local function add_role(segment, role)
    local roles = segment.roles
    roles[#roles + 1] = role
end

local function add_anomaly(segment, anomaly)
    segment.anomalies[anomaly] = true
end

--- Adds a part to the explanation; numbers are formatted as such on every version of Lua.
local function explain(segment, template, ...)
    local words = segment.words
    words[#words + 1] = format(template, ...)
end

--- H10: the segment answers a frame.
local function answer(segment, frame, time)
    if frame then
        segment.responds_to = frame
        segment.response_time = segment.subtract(segment.time, time)
    end
end

--- "301 = 300 + 1" or "321 = 300 + 1 + 20"
local function sum_of_syn(ack, isn)
    local data = distance(ack, isn + 1)
    if data == 0 then
        return format("%.0f = %.0f + 1", ack, isn)
    end
    return format("%.0f = %.0f + 1 + %.0f", ack, isn, data)
end

--- Explains an acknowledgement of the peer's SYN or SYN-ACK.
local function explain_ack(segment, peer, what)
    local data = distance(segment.ack, peer.isn + 1) > 0 and " and data" or ""
    explain(segment, "acknowledges the %s's %s%s: %s", segment.peer_name, what, data,
        sum_of_syn(segment.ack, peer.isn))
end

--- An acknowledgement of P's SYN that is not ISN + 1.
local function mismatch(segment, peer)
    add_anomaly(segment, "ack-mismatch")
    explain(segment, "acknowledges %.0f, but %.0f = %.0f + 1 was expected for the %s's SYN", segment.ack,
        (peer.isn + 1) % MODULUS, peer.isn, segment.peer_name)
end

--- The same, and P rejects it.
local function reject(segment, peer)
    mismatch(segment, peer)
    peer.rejected = segment.ack
end

-- ---------------------------------------------------------------------------------------------------- H. Opening

--- Role SYN, step 1.
local function note_syn(connection, segment)
    local sender = connection[segment.from]
    add_role(segment, SYN)
    segment.handshake_step = 1
    connection.attempt.syn_seen = true
    sender.progress = max(sender.progress, 1)
    sender.syn_length = max(sender.syn_length, segment.length) -- X: of all its transmissions
    -- H10: the frame answered is the latest transmission.
    sender.syn_frame, sender.syn_frame_time = segment.frame, segment.time
end

--- Remembers a SYN as that of its sender.
local function remember_syn(connection, segment)
    local sender = connection[segment.from]
    sender.isn, sender.syn_seen = segment.seq, true
    sender.syn_time = segment.time
    note_syn(connection, segment)
end

local function explain_syn(segment)
    explain(segment, "proposes the initial sequence number %.0f", segment.seq)
end

local function explain_repeated_syn(segment)
    explain(segment, "repeats the initial sequence number %.0f", segment.seq)
end

--- H2: everything of the former attempt is forgotten.
local function begin_attempt(connection, segment)
    local former = connection[segment.from]
    local repeated = former.syn_seen and former.isn == segment.seq
    local syn_time = former.syn_time
    connection[segment.from] = new_end(SYN_SENT)
    connection[segment.to] = new_end(LISTEN)
    connection.attempt = {}
    remember_syn(connection, segment)
    if repeated then
        connection[segment.from].syn_time = syn_time
        add_anomaly(segment, "syn-retransmission")
        explain_repeated_syn(segment)
    else
        add_anomaly(segment, "port-reuse")
        explain_syn(segment)
    end
end

--- H4: was a SYN captured after what followed it?
local function is_late_syn(sender, peer, segment)
    if sender.isn then
        return false
    end
    local answered = peer.synack_seen and distance(peer.synack_ack, segment.seq + 1) <= segment.length
    return answered or precedes_first(sender, peer, segment.seq)
end

--- SYN (H1 to H7, in this order).
local function judge_syn(connection, segment)
    local sender, peer = connection[segment.from], connection[segment.to]
    if connection.fresh then -- H1
        sender.state, peer.state = SYN_SENT, LISTEN
        remember_syn(connection, segment)
        explain_syn(segment)
    elseif is_over(connection) then -- H2
        begin_attempt(connection, segment)
    elseif sender.syn_seen and sender.isn == segment.seq then -- H3
        if sender.progress == 1 and sender.state == ESTABLISHED then
            sender.state = SYN_SENT
        end
        if peer.state == CLOSED then
            peer.state = LISTEN
        end
        note_syn(connection, segment)
        add_anomaly(segment, "syn-retransmission")
        explain_repeated_syn(segment)
    elseif is_late_syn(sender, peer, segment) then -- H4
        remember_syn(connection, segment)
        explain_syn(segment)
    elseif peer.state == SYN_SENT and not sender.syn_seen and is_idle(sender) then -- H5
        remember_syn(connection, segment)
        sender.state, peer.state = SYN_RECEIVED, SYN_RECEIVED
        connection.attempt.simultaneous_open = true
        add_anomaly(segment, "simultaneous-open")
        explain_syn(segment)
    elseif sender.state == SYN_SENT and is_idle(peer) then -- H6
        begin_attempt(connection, segment)
    else -- H7
        connection[segment.from] = new_end(SYN_SENT)
        connection.attempt = {}
        forget_fin(peer)
        remember_syn(connection, segment)
        add_anomaly(segment, "syn-on-established")
        explain_syn(segment)
    end
end

--- Role SYN-ACK, step 2.
local function note_syn_ack(connection, segment)
    local sender = connection[segment.from]
    add_role(segment, SYN_ACK)
    segment.handshake_step = 2
    connection.attempt.syn_ack_seen = true
    sender.progress = max(sender.progress, 2)
end

--- Remembers a SYN-ACK as that of its sender.
local function remember_syn_ack(connection, segment, awaiting)
    local sender = connection[segment.from]
    sender.isn, sender.synack_seen = segment.seq, true
    sender.synack_ack = segment.ack
    sender.synack_frame, sender.synack_frame_time = segment.frame, segment.time
    sender.awaiting = awaiting
end

--- A SYN-ACK that is not mismatched answers P's latest SYN, if that was seen.
local function answer_syn(connection, segment)
    local peer = connection[segment.to]
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

--- H8.1
local function judge_repeated_syn_ack(connection, segment)
    local sender, peer = connection[segment.from], connection[segment.to]
    note_syn_ack(connection, segment)
    add_anomaly(segment, "syn-ack-retransmission")
    if peer.isn and not is_acceptable(peer, segment.ack, peer.syn_length) then
        mismatch(segment, peer)
        return
    end
    sender.synack_frame, sender.synack_frame_time = segment.frame, segment.time
    sender.synack_ack = segment.ack
    answer_syn(connection, segment)
    explain_repeated_syn(segment)
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

--- SYN-ACK (H1, H8).
local function judge_syn_ack(connection, segment)
    local sender, peer = connection[segment.from], connection[segment.to]
    local peer_opening = is_opening(peer)
    local acceptable = is_acceptable(peer, segment.ack, peer.syn_length)
    if connection.fresh then -- H1
        sender.state, peer.state = SYN_RECEIVED, ESTABLISHED
        note_syn_ack(connection, segment)
        remember_syn_ack(connection, segment, true)
        answer_syn(connection, segment)
        explain_syn(segment)
    elseif sender.synack_seen and sender.isn == segment.seq then -- H8.1
        judge_repeated_syn_ack(connection, segment)
    elseif peer_opening and not acceptable then -- H8.2
        note_syn_ack(connection, segment)
        reject(segment, peer)
        if peer.state == SYN_SENT then
            remember_syn_ack(connection, segment, true)
            sender.state = SYN_RECEIVED
        end
    elseif peer_opening then -- H8.3
        -- Its own SYN, of a simultaneous open, was acknowledged already.
        local acknowledged = sender.state == ESTABLISHED and sender.isn == segment.seq
        note_syn_ack(connection, segment)
        answer_syn(connection, segment)
        explain_syn(segment)
        remember_syn_ack(connection, segment, not acknowledged)
        peer.state, peer.awaiting = ESTABLISHED, false
        if not acknowledged then
            sender.state = SYN_RECEIVED
        end
    elseif not sender.isn and (acceptable or precedes_first(sender, peer, segment.seq)) then -- H8.4
        note_syn_ack(connection, segment)
        answer_syn(connection, segment)
        explain_syn(segment)
        remember_syn_ack(connection, segment, peer.progress < 3)
    else -- H8.5
        add_anomaly(segment, "syn-on-established")
    end
end

--- Role HANDSHAKE-ACK, step 3 (H9.2, H9.4), with its time (H10).
local function note_handshake_ack(connection, segment)
    local sender = connection[segment.from]
    add_role(segment, HANDSHAKE_ACK)
    segment.handshake_step = 3
    connection.attempt.third_step_seen = true
    if sender.syn_seen then
        segment.handshake_time = segment.subtract(segment.time, sender.syn_time)
    end
end

--- H9.5: does a segment show that its sender's SYN was acknowledged?
local function shows_acknowledged_syn(sender, peer, segment)
    if segment.kind == FIN then
        return true
    end
    if sender.synack_seen then
        local beyond = distance(segment.ack, sender.synack_ack)
        if beyond >= 1 and beyond < HALF then
            return true
        end
    end
    -- RFC 7413: a server that took data from the SYN may send at once.
    local took_data = sender.synack_seen and peer.isn ~= nil
        and distance(sender.synack_ack, peer.isn + 1) ~= 0
    return segment.length > 0 and not took_data
end

--- Plain and FIN segments while opening (H9).
-- @return true if the segment is stopped
local function judge_opening(connection, segment)
    local sender, peer = connection[segment.from], connection[segment.to]
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
            answer(segment, peer.synack_frame, peer.synack_frame_time)
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
        if not third_step and not peer.synack_seen
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

-- ---------------------------------------------------------------------------------------------------- T. Closing

--- Acknowledgement of a FIN (T1).
-- @return acknowledged: is this an ACK-OF-FIN; first: is it the first of this FIN
local function judge_ack_of_fin(connection, segment)
    local peer = connection[segment.to]
    if not peer.fin_seq or peer.fin_acked then
        return false, false
    end
    local expected = (peer.fin_seq + 1) % MODULUS
    if distance(segment.ack, expected) >= HALF then
        return false, false
    end
    add_role(segment, ACK_OF_FIN)
    segment.steps[#segment.steps + 1] = peer.fin_step + 1
    if not segment.responds_to then
        answer(segment, peer.fin_frame, peer.fin_frame_time)
    end
    local data = peer.fin_length > 0 and format(" + %.0f", peer.fin_length) or ""
    if segment.ack == expected then
        explain(segment, "acknowledges the %s's FIN: %.0f = %.0f%s + 1", segment.peer_name, expected,
            peer.fin_start, data)
    else
        explain(segment, "acknowledges the %s's FIN: %.0f is after %.0f = %.0f%s + 1", segment.peer_name, segment.ack,
            expected, peer.fin_start, data)
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

--- T2: is payload beyond the sender's own FIN?
local function is_after_fin(fin_seq, seq, length)
    if not fin_seq then
        return false
    end
    local beyond = distance(seq + length, fin_seq)
    return beyond >= 1 and beyond < HALF
end

--- T2: is payload sent to a peer that has closed its direction?
local function is_half_close_data(state, peer_fin_acked)
    return state == CLOSE_WAIT and peer_fin_acked == true
end

--- A FIN is delivered to P (T3).
local function deliver_fin(peer)
    if peer.state == ESTABLISHED or peer.state == SYN_RECEIVED then
        peer.state = CLOSE_WAIT
    elseif peer.state == FIN_WAIT_1 then
        peer.state = CLOSING
    elseif peer.state == FIN_WAIT_2 then
        peer.state = TIME_WAIT
    end
end

--- Remembers number and frame of a FIN.
local function remember_fin(sender, segment)
    sender.fin_seq = (segment.seq + segment.length) % MODULUS
    sender.fin_start, sender.fin_length = segment.seq, segment.length
    sender.fin_frame, sender.fin_frame_time = segment.frame, segment.time
end

--- S's first FIN (T3).
local function judge_first_fin(connection, segment, acknowledges_first)
    local sender, peer = connection[segment.from], connection[segment.to]
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
        attempt.first_fin_by, attempt.first_fin_time = segment.from, segment.time
    end
    deliver_fin(peer)
end

--- Another FIN of S (T5).
local function judge_another_fin(connection, segment)
    local sender, peer = connection[segment.from], connection[segment.to]
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

--- Plain and FIN segments that H9 has not stopped (T1 to T7).
local function judge_closing(connection, segment)
    local sender, peer = connection[segment.from], connection[segment.to]
    if sender.progress < 3 then
        sender.progress = 3
        sender.first_seq, sender.first_ack = segment.seq, segment.ack
    end
    local acknowledges, acknowledges_first = judge_ack_of_fin(connection, segment)
    if acknowledges and sender.fin_acked then -- T7
        connection.attempt.closed = true
        segment.teardown_time = segment.subtract(segment.time, connection.attempt.first_fin_time)
    end
    if segment.length > 0 then -- T2
        if is_half_close_data(sender.state, peer.fin_acked) then
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
        segment.steps[#segment.steps + 1] = sender.fin_step
        local verb = again and "closes its direction again" or "closes its direction"
        if segment.length > 0 then
            explain(segment, "%s: the FIN occupies sequence number %.0f = %.0f + %.0f", verb, sender.fin_seq,
                segment.seq, segment.length)
        else
            explain(segment, "%s: the FIN occupies sequence number %.0f", verb, sender.fin_seq)
        end
    end
end

-- --------------------------------------------------------------------------------------------------- R. Aborting

--- The attempt was reset by S (C6: the first RST that ended it counts).
local function note_reset(connection, segment)
    local attempt = connection.attempt
    attempt.reset_by = attempt.reset_by or segment.from
end

--- The attempt was aborted before it was opened.
local function note_abort(connection, segment)
    connection.attempt.aborted = true
    add_anomaly(segment, "handshake-aborted")
end

--- An RST is delivered to P before the attempt was opened (R3, R5).
local function deliver_abort(peer)
    if peer.state == SYN_RECEIVED and is_passive_opener(peer) then
        peer.state = LISTEN
    elseif peer.state ~= LISTEN then
        peer.state = CLOSED
    end
end

--- R3
local function judge_rejection(connection, segment)
    local sender, peer = connection[segment.from], connection[segment.to]
    deliver_abort(peer)
    if sender.state == SYN_RECEIVED then
        note_reset(connection, segment)
        if not connection.attempt.opened then
            note_abort(connection, segment)
        end
    end
    explain(segment, "rejects the acknowledgement number %.0f, which its sequence number repeats", segment.seq)
end

--- R4
local function judge_answer_to_syn(connection, segment)
    local sender, peer = connection[segment.from], connection[segment.to]
    sender.state = CLOSED
    if not segment.has_ack then
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

--- R5
local function judge_abort(connection, segment)
    connection[segment.from].state = CLOSED
    deliver_abort(connection[segment.to])
    note_reset(connection, segment)
    note_abort(connection, segment)
    explain(segment, "aborts the handshake before both ends were established")
end

--- RST (R1 to R6, in this order).
local function judge_rst(connection, segment)
    local sender, peer = connection[segment.from], connection[segment.to]
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

-- ------------------------------------------------------------------------------------------- C. The connection's row

--- C4
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
    elseif attempt.unreachable then
        return "unreachable"
    end
    return attempt.syn_ack_matched and "half-open" or "unanswered"
end

--- C5
local function termination_of(connection)
    local attempt = connection.attempt
    if attempt.closed then
        if attempt.simultaneous_close then
            return "simultaneous"
        end
        return attempt.merged and "three-way" or "four-way"
    elseif attempt.reset_by then
        return "reset"
    elseif connection[1].fin_seq and connection[2].fin_seq then
        return "unacknowledged"
    elseif connection[1].fin_seq or connection[2].fin_seq then
        return "half-closed"
    end
    return "none"
end

--- C6
local function closed_by_of(connection)
    local attempt = connection.attempt
    if attempt.simultaneous_close then
        return "both"
    end
    local by = attempt.first_fin_by or attempt.reset_by
    return by and end_name(connection, by) or nil
end

--- Brings the connection's summary up to date.
local function summarise(connection)
    connection.establishment = establishment_of(connection)
    connection.termination = termination_of(connection)
    connection.closed_by = closed_by_of(connection)
end

--- Does the sender of a SYN or SYN-ACK offer ECN (C13, RFC 3168)?
local function offers_ecn(kind, flags)
    local ece, cwr = flags % 128 >= 64, flags % 256 >= 128
    if kind == SYN then
        return ece and cwr
    end
    return ece and not cwr
end

--- C13: true if both offer it, as far as it is known; nil if nothing is.
local function agreed(mine, other)
    if mine == nil then
        return other
    elseif other == nil then
        return mine
    end
    return mine and other
end

--- C17: what the sender of a SYN or SYN-ACK offers.
local function note_offer(connection, segment, annotation, offer)
    local known = offer ~= nil
    local mine = {
        ecn = offers_ecn(segment.kind, segment.flags),
        sack_permitted = nil, timestamps = nil,
    }
    if known then
        mine.sack_permitted, mine.timestamps = offer.sack_permitted == true, offer.timestamps == true
        annotation.mss, annotation.window_scale = offer.mss, offer.window_scale
    end
    connection.offers[segment.from] = mine
    local other = connection.offers[segment.to] or {}
    annotation.sack_permitted = agreed(mine.sack_permitted, other.sack_permitted)
    annotation.timestamps = agreed(mine.timestamps, other.timestamps)
    annotation.ecn = agreed(mine.ecn, other.ecn)
end

-- ------------------------------------------------------------------------------------------------ X. One segment

--- E1: the first SYN or SYN-ACK fixes who is the client.
local function settle_client(connection, segment)
    if connection.client_is_settled then
        return
    end
    if segment.kind == SYN then
        connection.client, connection.client_is_settled = segment.from, true
    elseif segment.kind == SYN_ACK then
        connection.client, connection.client_is_settled = segment.to, true
    end
end

--- X4: is a segment a FIN that repeats that of its sender, on a connection that was not reset?
local function repeats_fin(connection, segment)
    local fin_seq = connection[segment.from].fin_seq
    return segment.kind == FIN and fin_seq ~= nil and not connection.attempt.reset_by
        and distance(segment.seq + segment.length, fin_seq) == 0
end

--- Judges a segment that is neither invalid nor RST nor SYN.
local function judge_other(connection, segment)
    if connection.fresh and segment.kind ~= SYN_ACK then -- H1
        connection[1].state, connection[2].state = ESTABLISHED, ESTABLISHED
        judge_closing(connection, segment)
    elseif is_over(connection) then -- X4
        if repeats_fin(connection, segment) then
            judge_closing(connection, segment)
        else
            add_anomaly(segment, "segment-after-close")
        end
    elseif segment.kind == SYN_ACK then
        judge_syn_ack(connection, segment)
    elseif not judge_opening(connection, segment) then
        judge_closing(connection, segment)
    end
end

--- Judges a segment by all rules.
local function judge(connection, segment)
    if connection.closed_by_error then -- N3: whatever the segment is
        connection.closed_by_error = nil
        connection[connection.client].state = SYN_SENT
    end
    if segment.kind == INVALID then -- G7
        add_anomaly(segment, "invalid-flags")
        return
    end
    settle_client(connection, segment)
    segment.peer_name = end_name(connection, segment.to)
    if segment.kind == RST then
        if segment.flags % 4 >= 1 then -- G7: with SYN or FIN
            add_anomaly(segment, "invalid-flags")
        end
        judge_rst(connection, segment)
    elseif segment.kind == SYN then
        judge_syn(connection, segment)
    else
        judge_other(connection, segment)
    end
    local role = segment.roles[1]
    if segment.length > 0 and (role == SYN or role == SYN_ACK) then -- A1
        add_anomaly(segment, "syn-with-data")
    end
    connection.fresh = false
    if IS_OPENED[connection[1].state] and IS_OPENED[connection[2].state] then -- X3
        connection.attempt.opened = true
    end
end

-- -------------------------------------------------------------------------------------------------- What is kept
-- Of every connection a sparse history: for segments that changed or said something, their annotation and the
-- situation after them. What a segment without effect gets follows from the situation in which it was sent.

--- Joins the anomalies of a set in the order of table A.
local function join_anomalies(set)
    if next(set) == nil then
        return nil
    end
    local list = {}
    for index = 1, #ANOMALIES do
        if set[ANOMALIES[index]] then
            list[#list + 1] = ANOMALIES[index]
        end
    end
    return concat(list, "+")
end

--- The situation of a connection: the same table as before if nothing in it has changed.
local function situation_of(connection)
    local one, two, old = connection[1], connection[2], connection.situation
    local over = is_over(connection)
    if old and old.client == connection.client and old.over == over and old[1] == one.state and old[2] == two.state
        and old.fin_seq_1 == one.fin_seq and old.fin_seq_2 == two.fin_seq
        and old.fin_acked_1 == one.fin_acked and old.fin_acked_2 == two.fin_acked then
        return old
    end
    return {
        one.state, two.state, client = connection.client, over = over,
        fin_seq_1 = one.fin_seq, fin_seq_2 = two.fin_seq,
        fin_acked_1 = one.fin_acked, fin_acked_2 = two.fin_acked,
        remarks = {},
    }
end

--- Annotation with sender and states only.
local function new_annotation(situation, from)
    local client = situation.client
    return {
        sender = from == client and "client" or "server",
        client_state = situation[client], server_state = situation[3 - client],
    }
end

--- Annotation of a segment without effect; the few that a situation can give are shared.
-- @param from index of the sender
local function remark(situation, from, kind, seq, length)
    local anomaly
    if kind == INVALID then
        anomaly = "invalid-flags"
    elseif situation.over then
        anomaly = "segment-after-close"
    elseif kind == PLAIN and length > 0 then -- T2
        local fin_seq, peer_fin_acked = situation.fin_seq_1, situation.fin_acked_2
        if from == 2 then
            fin_seq, peer_fin_acked = situation.fin_seq_2, situation.fin_acked_1
        end
        local half_close = is_half_close_data(situation[from], peer_fin_acked)
        local after_fin = is_after_fin(fin_seq, seq, length)
        if half_close or after_fin then
            anomaly = join_anomalies({ ["half-close-data"] = half_close, ["data-after-fin"] = after_fin })
        end
    end
    local remarks = situation.remarks
    local key = anomaly or ""
    local pair = remarks[key]
    if not pair then
        pair = {}
        remarks[key] = pair
    end
    local annotation = pair[from]
    if not annotation then
        annotation = new_annotation(situation, from)
        annotation.anomaly = anomaly
        pair[from] = annotation
    end
    return annotation
end

--- Annotation of a segment that was judged.
local function annotation_of(connection, segment, situation)
    local annotation = new_annotation(situation, segment.from)
    local roles, steps, words = segment.roles, segment.steps, segment.words
    annotation.role = #roles > 0 and concat(roles, "+") or nil
    annotation.handshake_step = segment.handshake_step
    if #steps > 0 then
        annotation.teardown_step = #steps > 1 and format("%.0f+%.0f", steps[1], steps[2]) or format("%.0f", steps[1])
    end
    annotation.anomaly = segment.anomaly
    for anomaly in pairs(segment.anomalies) do -- A3
        if IS_RETRANSMISSION[anomaly] then
            annotation.retransmission = true
        end
    end
    annotation.responds_to, annotation.response_time = segment.responds_to, segment.response_time
    annotation.handshake_time, annotation.teardown_time = segment.handshake_time, segment.teardown_time
    annotation.explanation = #words > 0 and concat(words, "; ") or nil
    if roles[1] == SYN or roles[1] == SYN_ACK then
        note_offer(connection, segment, annotation, segment.offer)
    end
    return annotation
end

--- May plain segments of an end skip the rules, because they can neither change nor say anything?
local function is_steady(connection, from)
    local sender, peer = connection[from], connection[3 - from]
    return sender.state == ESTABLISHED and peer.state == ESTABLISHED and sender.progress == 3 and not peer.awaiting
        and not sender.fin_seq and not peer.fin_seq
end

--- Binary search: index of the last key that is not above a given one; 0 if there is none.
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

-- ------------------------------------------------------------------------------------------------------- Tracker

--- Annotates the segments of a capture, incrementally and in their order. Interface:
--
--   local tracker = new(subtract, address_key)
--   tracker:segment(stream, frame, time, source, source_port, destination, destination_port,
--                   flags, seq, ack, length, offer)   -> annotation
--   tracker:recall(stream, frame, ordinal, source, source_port, flags, seq, length)   -> annotation or nil
--   tracker:network_error(frame, time, source, source_port, destination, destination_port, stream)
--                                                     -> annotation or nil (no effect)
--   tracker:connection(stream)                        -> summary or nil
--
-- Addresses are any values with an `==`; times any that subtract takes; offer is nil if the options are not known,
-- else a table with mss, window_scale (numbers or nil), sack_permitted, timestamps (true or not).
--
-- An annotation is a read-only table: sender, client_state, server_state, and where they apply role, teardown_step,
-- anomaly (strings joined with "+"), handshake_step, retransmission (true), responds_to, response_time,
-- handshake_time, teardown_time, explanation; on a SYN or SYN-ACK also mss and window_scale (of its sender),
-- sack_permitted, timestamps and ecn. That of a network error has stream and no sender.
--
-- A summary is a read-only table of the values at the moment: establishment, termination, closed_by (or nil),
-- client_state, server_state, client, client_port, server, server_port.
local Tracker = {}
Tracker.__index = Tracker

--- A new tracker.
-- @param subtract function (later, earlier) for times; without it they are plain numbers
-- @param address_key function giving a string for an address, the same for equal ones; without it tostring
local function new(subtract, address_key)
    local minus = subtract or function(later, earlier)
        return later - earlier
    end
    return setmetatable({
        -- A time that the capture lacks gives none.
        subtract = function(later, earlier)
            if later ~= nil and earlier ~= nil then
                return minus(later, earlier)
            end
            return nil
        end,
        address_key = address_key or tostring,
        connections = {}, -- stream -> connection
        latest = {}, -- key of two ends -> their latest connection
        errors = {}, -- frame -> annotation of a network error with an effect
    }, Tracker)
end

--- Key of the two ends of a connection, in either direction.
function Tracker:key_of_ends(source, source_port, destination, destination_port)
    local one = self.address_key(source) .. " " .. format("%.0f", source_port)
    local two = self.address_key(destination) .. " " .. format("%.0f", destination_port)
    if two < one then
        one, two = two, one
    end
    return one .. " " .. two
end

--- Begins a connection with its first segment.
-- @return the connection, with the former one between the two ends
function Tracker:open(stream, source, source_port, destination, destination_port)
    local key = self:key_of_ends(source, source_port, destination, destination_port)
    local former = self.latest[key]
    -- E2: the end with the lower port is the server.
    local client = source_port < destination_port and 2 or 1
    local connection = {
        stream = stream, former = former,
        address_1 = source, port_1 = source_port, address_2 = destination, port_2 = destination_port, -- G5
        client = client,
        fresh = true,
        attempt = {},
        offers = {},
        keys = {}, annotations = {}, situations = {},
        new_end(client == 1 and CLOSED or LISTEN), new_end(client == 2 and CLOSED or LISTEN),
    }
    self.latest[key] = connection
    self.connections[stream] = connection
    return connection
end

--- Index of the end that sent a segment (G5).
local function sender_of(connection, source, source_port)
    if source_port == connection.port_1 and source == connection.address_1 then
        return 1
    end
    return 2
end

--- Is an end given by address and port the client?
local function is_client(connection, source, source_port)
    if connection.client == 1 then
        return source_port == connection.port_1 and source == connection.address_1
    end
    return source_port == connection.port_2 and source == connection.address_2
end

--- Ordinal of a segment among those of its connection in its frame (G2).
local function next_ordinal(connection, frame)
    local ordinal = 0
    if connection.last_frame == frame then
        ordinal = connection.last_ordinal + 1
    end
    connection.last_frame, connection.last_ordinal = frame, ordinal
    return ordinal
end

--- Annotates the next segment of the capture.
function Tracker:segment(stream, frame, time, source, source_port, destination, destination_port,
                         flags, seq, ack, length, offer)
    local connection, had_former = self.connections[stream], false
    if not connection then
        connection = self:open(stream, source, source_port, destination, destination_port)
        had_former = connection.former ~= nil
    end
    local from = sender_of(connection, source, source_port)
    local segment = {
        frame = frame, time = time, from = from, to = 3 - from, kind = kind_of(flags), flags = flags,
        seq = seq, ack = ack, length = length, has_ack = flags % 32 >= 16, offer = offer,
        subtract = self.subtract,
        roles = {}, steps = {}, anomalies = {}, words = {},
    }
    if had_former and (segment.kind == SYN or segment.kind == SYN_ACK) then -- A2
        add_anomaly(segment, "port-reuse")
    end
    judge(connection, segment)
    segment.anomaly = join_anomalies(segment.anomalies)
    summarise(connection)

    local ordinal = next_ordinal(connection, frame)
    local former = connection.situation
    local situation = situation_of(connection)
    connection.situation = situation
    connection.steady_1, connection.steady_2 = is_steady(connection, 1), is_steady(connection, 2)
    if situation == former and #segment.roles == 0 then
        local shared = remark(situation, from, segment.kind, seq, length)
        if shared.anomaly == segment.anomaly then
            return shared
        end
    end
    local annotation = annotation_of(connection, segment, situation)
    local index = #connection.keys + 1
    connection.keys[index] = frame * ORDINALS + ordinal
    connection.annotations[index] = annotation
    connection.situations[index] = situation
    return annotation
end

--- Shortcut for a plain segment that can neither change nor say anything.
-- @return its annotation, or nil: then segment() must be called
function Tracker:steady_segment(stream, frame, source, source_port)
    local connection = self.connections[stream]
    if not connection or not (connection.steady_1 or connection.steady_2) then
        return nil
    end
    local from = sender_of(connection, source, source_port)
    if not (from == 1 and connection.steady_1 or from == 2 and connection.steady_2) then
        return nil
    end
    next_ordinal(connection, frame)
    return remark(connection.situation, from, PLAIN, 0, 0)
end

--- The annotation of a segment that was annotated before, and its connection.
local function recall(self, stream, frame, ordinal, source, source_port, flags, seq, length)
    local connection = self.connections[stream]
    local key = frame * ORDINALS + ordinal
    -- Wireshark itself can put a segment into a later stream of the same ends when it dissects it again.
    while connection and connection.keys[1] > key do
        connection = connection.former
    end
    if not connection then
        return nil, nil
    end
    local index = last_up_to(connection.keys, key)
    if connection.keys[index] == key then
        return connection.annotations[index], connection
    end
    local from = sender_of(connection, source, source_port)
    return remark(connection.situations[index], from, kind_of(flags), seq, length), connection
end

--- The annotation of a segment that was annotated before.
-- @param ordinal its ordinal among the segments of its connection in its frame, from 0
function Tracker:recall(...)
    return (recall(self, ...))
end

--- Judges a network error (N1 to N3).
-- @param source, source_port, destination, destination_port the quoted ends
-- @param stream the quoted tcp.stream, or nil
function Tracker:network_error(frame, time, source, source_port, destination, destination_port, stream)
    local connection
    if stream then
        connection = self.connections[stream]
    else
        connection = self.latest[self:key_of_ends(source, source_port, destination, destination_port)]
    end
    if not connection then
        return nil
    end
    local client, server = connection[connection.client], connection[3 - connection.client]
    if client.state ~= SYN_SENT or not is_idle(server) or not is_client(connection, source, source_port) then
        return nil
    end
    client.state = CLOSED
    connection.closed_by_error = true
    connection.attempt.unreachable = true
    connection.steady_1, connection.steady_2 = false, false
    summarise(connection)
    local annotation = {
        stream = connection.stream,
        client_state = client.state, server_state = server.state,
        anomaly = "unreachable",
        responds_to = client.syn_frame,
        response_time = self.subtract(time, client.syn_frame_time),
        explanation = format("reports that the client's SYN %.0f did not arrive", client.isn),
    }
    self.errors[frame] = annotation
    return annotation
end

--- The annotation of a network error that had an effect, or nil.
function Tracker:recall_error(frame)
    return self.errors[frame]
end

--- Summary of a connection at the moment.
function Tracker:connection(stream)
    local connection = self.connections[stream]
    if not connection then
        return nil
    end
    local one, two = "_1", "_2"
    if connection.client == 2 then
        one, two = two, one
    end
    return {
        establishment = connection.establishment, termination = connection.termination,
        closed_by = connection.closed_by,
        client = connection["address" .. one], client_port = connection["port" .. one],
        server = connection["address" .. two], server_port = connection["port" .. two],
        client_state = connection[connection.client].state, server_state = connection[3 - connection.client].state,
    }
end

if not Proto then
    return { new = new, VERSION = VERSION, ANOMALIES = ANOMALIES }
end

-- ================================================================================================== Wireshark layer

local MINIMUM = 4 -- major version

--- Says a sentence to the user, by whatever this version has for it.
local function complain(sentence)
    if report_failure then
        report_failure(sentence)
    else
        io.stderr:write(sentence, "\n")
    end
end

local major = tonumber(tostring(get_version and get_version() or "0"):match("^(%d+)")) or 0
if major < MINIMUM then
    complain(format("tcp_handshake.lua needs Wireshark %d.0 or later; this is %s. It is not loaded.", MINIMUM,
        tostring(get_version and get_version() or "an older one")))
    return
end

if set_plugin_info then
    set_plugin_info({
        version = VERSION,
        description = "Annotates how TCP connections are opened, closed and aborted",
    })
end

local proto = Proto("tcp_handshake", "TCP Handshake")

-- ------------------------------------------------------------------------------------------------------ Preferences

proto.prefs.info_notes = Pref.bool("Add notes to the Info column", true,
    "Add [Handshake 2/3], [Teardown 1/4], [Reset] and the like to the Info column")
proto.prefs.explanations = Pref.bool("Explain the steps", true,
    "Add a line to the tree that explains the sequence and acknowledgement numbers of a step")

-- ----------------------------------------------------------------------------------------------------------- Fields

local function string_field(abbreviation, title, blurb)
    return ProtoField.string(abbreviation, title, nil, blurb)
end

--- Constructor of a field for unsigned numbers of a given size.
local function number_field(constructor)
    return function(abbreviation, title, blurb)
        return constructor(abbreviation, title, base.DEC, nil, nil, blurb)
    end
end

local uint8_field, uint16_field = number_field(ProtoField.uint8), number_field(ProtoField.uint16)
local uint32_field = number_field(ProtoField.uint32)

local function boolean_field(abbreviation, title, blurb)
    return ProtoField.bool(abbreviation, title, base.NONE, nil, nil, blurb)
end

local function time_field(abbreviation, title, blurb)
    return ProtoField.relative_time(abbreviation, title, blurb)
end

local function request_field(abbreviation, title, blurb)
    return ProtoField.framenum(abbreviation, title, base.NONE, frametype.REQUEST, nil, blurb)
end

-- Name, constructor, title, blurb.
local FIELDS = {
    { "sender", string_field, "Sender", "The end that sent the segment: client or server" },
    { "role", string_field, "Role",
        "Role in opening or closing: SYN, SYN-ACK, HANDSHAKE-ACK, ACK-OF-FIN, FIN or RST" },
    { "handshake_step", uint8_field, "Handshake step", "Step of the three-way handshake, 1 to 3" },
    { "teardown_step", uint8_field, "Teardown step", "Step of the closing, 1 to 4" },
    { "client_state", string_field, "Client state", "State of the client by RFC 9293 once the segment was delivered" },
    { "server_state", string_field, "Server state", "State of the server by RFC 9293 once the segment was delivered" },
    { "retransmission", boolean_field, "Retransmission", "A SYN, SYN-ACK or FIN that was sent before" },
    { "responds_to", request_field, "Responds to", "Frame of the SYN, SYN-ACK or FIN that this one answers" },
    { "response_time", time_field, "Response time", "Time since the frame that this one answers" },
    { "handshake_time", time_field, "Handshake time",
        "Time from the first transmission of the SYN to the third step" },
    { "teardown_time", time_field, "Teardown time",
        "Time from the first FIN to the acknowledgement of the last" },
    { "anomaly", string_field, "Anomaly", "What is unusual about the segment" },
    { "establishment", string_field, "Establishment",
        "How the connection's latest attempt was opened: complete, partial, simultaneous, half-open, refused ..." },
    { "termination", string_field, "Termination",
        "How the connection's latest attempt was closed: four-way, three-way, simultaneous, reset, half-closed ..." },
    { "closed_by", string_field, "Closed by", "Who closed the connection first: client, server or both" },
    { "stream", uint32_field, "Stream", "The tcp.stream of the connection that a network error is about" },
    { "client_mss", uint16_field, "Client's MSS", "Maximum segment size that the client offers" },
    { "server_mss", uint16_field, "Server's MSS", "Maximum segment size that the server offers" },
    { "client_window_scale", uint8_field, "Client's window scale", "Window scale (shift) that the client offers" },
    { "server_window_scale", uint8_field, "Server's window scale", "Window scale (shift) that the server offers" },
    { "sack_permitted", boolean_field, "SACK permitted", "Offered by all SYNs and SYN-ACKs captured so far" },
    { "timestamps", boolean_field, "Timestamps", "Offered by all SYNs and SYN-ACKs captured so far" },
    { "ecn", boolean_field, "ECN", "Offered by all SYNs and SYN-ACKs captured so far" },
    { "explanation", string_field, "Explanation", "The sequence and acknowledgement numbers of the step, explained" },
}

local fields, field_list = {}, {}
for index = 1, #FIELDS do
    local name, constructor, title, blurb = FIELDS[index][1], FIELDS[index][2], FIELDS[index][3], FIELDS[index][4]
    fields[name] = constructor("tcp_handshake." .. name, title, blurb)
    field_list[index] = fields[name]
end
proto.fields = field_list

-- ---------------------------------------------------------------------------------------------- Expert information

local CHAT, NOTE, WARN = expert.severity.CHAT, expert.severity.NOTE, expert.severity.WARN
local SEQUENCE, PROTOCOL = expert.group.SEQUENCE, expert.group.PROTOCOL
local RESPONSE = expert.group.RESPONSE_CODE

-- Anomaly -> group, severity, sentence.
local SENTENCES = {
    ["syn-retransmission"] = { SEQUENCE, NOTE, "The SYN was sent before: it or its answer was lost or late." },
    ["syn-ack-retransmission"] = { SEQUENCE, NOTE, "The SYN-ACK was sent before: it or its answer was lost or late." },
    ["fin-retransmission"] = { SEQUENCE, NOTE, "The FIN was sent before: it or its answer was lost or late." },
    ["connection-refused"] = { RESPONSE, WARN, "The SYN was refused by a reset: nothing accepts connections there." },
    ["unreachable"] = { RESPONSE, WARN, "The network reports that the SYN could not be delivered." },
    ["handshake-aborted"] = { SEQUENCE, WARN, "The reset ends the handshake before the connection was opened." },
    ["simultaneous-open"] = { SEQUENCE, CHAT, "Both ends sent a SYN before they heard of the other's." },
    ["simultaneous-close"] = { SEQUENCE, CHAT, "Both ends sent a FIN before they heard of the other's." },
    ["syn-with-data"] = { SEQUENCE, CHAT, "The SYN carries data, as TCP Fast Open does." },
    ["half-close-data"] = { SEQUENCE, CHAT, "The peer has closed its direction; this end goes on sending." },
    ["data-after-fin"] = { SEQUENCE, WARN, "The segment carries data beyond the FIN of its own sender." },
    ["rst-after-fin"] = { SEQUENCE, NOTE, "The reset comes after a FIN: the connection was being closed already." },
    ["segment-after-close"] = { SEQUENCE, NOTE, "The connection was over before this segment." },
    ["port-reuse"] = { SEQUENCE, NOTE, "Another connection between the same addresses and ports begins." },
    ["ack-mismatch"] = { SEQUENCE, WARN, "The acknowledgement number does not fit the SYN that was sent." },
    ["invalid-flags"] = { PROTOCOL, WARN, "No TCP sends this combination of flags." },
    ["syn-on-established"] = { SEQUENCE, WARN, "A SYN arrives on a connection that is open or opening." },
}

local experts, expert_list = {}, {}
for index = 1, #ANOMALIES do
    local name = ANOMALIES[index]
    local sentence = SENTENCES[name]
    experts[name] = ProtoExpert.new("tcp_handshake.expert." .. name:gsub("-", "_"), sentence[3], sentence[1],
        sentence[2])
    expert_list[index] = experts[name]
end
proto.experts = expert_list

-- ------------------------------------------------------------------------------------------------------- Extractors

-- G1
local get_source_port, get_destination_port = Field.new("tcp.srcport"), Field.new("tcp.dstport")
local get_stream, get_length, get_flags = Field.new("tcp.stream"), Field.new("tcp.len"), Field.new("tcp.flags")
local get_seq, get_ack = Field.new("tcp.seq_raw"), Field.new("tcp.ack_raw")
-- G3, N1
local get_ip_source, get_ip_destination = Field.new("ip.src"), Field.new("ip.dst")
local get_ipv6_source, get_ipv6_destination = Field.new("ipv6.src"), Field.new("ipv6.dst")
local get_icmp_type, get_icmp_code = Field.new("icmp.type"), Field.new("icmp.code")
local get_icmpv6_type = Field.new("icmpv6.type")
-- C12, C13
local get_mss, get_window_scale = Field.new("tcp.options.mss_val"), Field.new("tcp.options.wscale.shift")
local get_option_kind = Field.new("tcp.option_kind")
-- H10: pinfo.abs_ts is a float and has no nanoseconds.
local get_time = Field.new("frame.time_epoch")

-- ---------------------------------------------------------------------------------------------- Reading of a frame

local tracker
local last_frame = 0

--- Value of the first of the occurrences given, or nil.
local function value_of(info)
    return info and info.value
end

--- Raw bytes of the address among the occurrences given that equals one, or nil.
local function bytes_among(address, ...)
    for index = 1, select("#", ...) do
        local info = select(index, ...)
        if info.value == address then
            return info.range:bytes():tohex()
        end
    end
    return nil
end

--- Key of an address: its bytes, since tostring gives the name where names are resolved.
local function address_key(address)
    return bytes_among(address, get_ip_source()) or bytes_among(address, get_ip_destination())
        or bytes_among(address, get_ipv6_source()) or bytes_among(address, get_ipv6_destination())
        or tostring(address)
end

--- Exact difference of two times of frames.
local function subtract_times(later, earlier)
    return later - earlier
end

local function reset_tracker()
    tracker = new(subtract_times, address_key)
    last_frame = 0
end

--- What a SYN or SYN-ACK offers (C12, C13).
local function read_offer()
    local offer = { mss = value_of((get_mss())), window_scale = value_of((get_window_scale())) }
    local kinds = { get_option_kind() }
    for index = 1, #kinds do
        local kind = kinds[index].value
        if kind == 4 then
            offer.sack_permitted = true
        elseif kind == 8 then
            offer.timestamps = true
        end
    end
    return offer
end

--- Does the frame hold a network error (N1)?
-- @return "ip", "ipv6" or nil: the protocol of the quoted ends
local function network_error_kind()
    local types, codes = { get_icmp_type() }, { get_icmp_code() }
    for index = 1, #types do
        local kind, code = types[index].value, value_of(codes[index])
        if (kind == 3 and code ~= 4) or kind == 11 or kind == 12 then
            return "ip"
        end
    end
    types = { get_icmpv6_type() }
    for index = 1, #types do
        local kind = types[index].value
        if kind == 1 or kind == 3 or kind == 4 then
            return "ipv6"
        end
    end
    return nil
end

-- --------------------------------------------------------------------------------------------------- Presentation

--- Text of the tree's top item.
local function summary_text(annotation)
    local parts = {}
    if annotation.role then
        parts[#parts + 1] = annotation.role
    end
    if annotation.handshake_step then
        parts[#parts + 1] = format("step %d of 3", annotation.handshake_step)
    end
    if annotation.teardown_step then
        parts[#parts + 1] = "teardown step " .. annotation.teardown_step .. " of 4"
    end
    if annotation.anomaly then
        parts[#parts + 1] = annotation.anomaly
    end
    parts[#parts + 1] = "client " .. annotation.client_state
    parts[#parts + 1] = "server " .. annotation.server_state
    return "TCP Handshake: " .. concat(parts, ", ")
end

--- Note for the Info column, or nil.
local function info_note(annotation)
    local role, anomaly = annotation.role, annotation.anomaly
    if not role then
        return anomaly == "unreachable" and " [Unreachable]" or nil
    elseif role == RST then
        if anomaly and anomaly:find("connection-refused", 1, true) then
            return " [Refused]"
        elseif anomaly and anomaly:find("handshake-aborted", 1, true) then
            return " [Handshake aborted]"
        end
        return " [Reset]"
    end
    local note = ""
    if annotation.handshake_step then
        note = format(" [Handshake %d/3]", annotation.handshake_step)
    end
    if annotation.teardown_step then
        note = note .. " [Teardown " .. annotation.teardown_step .. "/4]"
    end
    return note
end

--- Adds a field if it has a value.
local function add(item, name, value)
    if value ~= nil then
        item:add(fields[name], value):set_generated()
    end
end

--- Adds a field once for each part of a string joined with "+" (T6, A).
local function add_each(item, name, joined, convert)
    if joined then
        for part in joined:gmatch("[^+]+") do
            add(item, name, convert and convert(part) or part)
        end
    end
end

--- Adds what only segments with a role or an anomaly have.
local function show_event(item, annotation)
    add_each(item, "role", annotation.role)
    add(item, "handshake_step", annotation.handshake_step)
    add_each(item, "teardown_step", annotation.teardown_step, tonumber)
    if proto.prefs.explanations then
        add(item, "explanation", annotation.explanation)
    end
    add(item, "retransmission", annotation.retransmission)
    add(item, "responds_to", annotation.responds_to)
    add(item, "response_time", annotation.response_time)
    add(item, "handshake_time", annotation.handshake_time)
    add(item, "teardown_time", annotation.teardown_time)
    add_each(item, "anomaly", annotation.anomaly)
    add(item, "stream", annotation.stream)
    if annotation.sender then
        add(item, annotation.sender .. "_mss", annotation.mss)
        add(item, annotation.sender .. "_window_scale", annotation.window_scale)
    end
    add(item, "sack_permitted", annotation.sack_permitted)
    add(item, "timestamps", annotation.timestamps)
    add(item, "ecn", annotation.ecn)
end

--- Adds the Expert Information of the anomalies.
local function show_experts(item, annotation)
    if annotation.anomaly then
        for anomaly in annotation.anomaly:gmatch("[^+]+") do
            item:add_proto_expert_info(experts[anomaly])
        end
    end
end

local own_dissector

--- Will nobody look at our items in this tree?
local function is_unwatched(tree)
    if tree.visible then
        return false
    end
    own_dissector = own_dissector or Dissector.get("tcp_handshake")
    return own_dissector ~= nil and not tree:referenced(own_dissector)
end

--- Adds the tree of a segment or network error, and its note.
-- @param connection the tracker's record, which has the connection's values of now (C17)
local function show(annotation, connection, pinfo, tree)
    local is_event = annotation.role or annotation.anomaly or annotation.explanation
    if not is_event and is_unwatched(tree) then
        return
    end
    local item = tree:add(proto, summary_text(annotation))
    item:set_generated()
    add(item, "sender", annotation.sender)
    add(item, "client_state", annotation.client_state)
    add(item, "server_state", annotation.server_state)
    if is_event then
        show_event(item, annotation)
    end
    add(item, "establishment", connection.establishment)
    add(item, "termination", connection.termination)
    add(item, "closed_by", connection.closed_by)
    show_experts(item, annotation)
    if proto.prefs.info_notes then
        local note = info_note(annotation)
        if note then
            pinfo.cols.info:append(note)
        end
    end
end

-- ------------------------------------------------------------------------------------------------------- Dissection

--- Annotates one segment of a frame, or recalls its annotation.
-- @param segment stream, source, source_port, destination, destination_port, flags, seq, ack, length, ordinal
-- @param is_new was the frame not processed before
-- @param is_single is it the only segment of its frame (C12)
-- @return the annotation, if there is one, and the connection
local function annotate(segment, number, is_new, is_single)
    local stream, flags = segment.stream, segment.flags
    if not is_new then
        return recall(tracker, stream, number, segment.ordinal, segment.source, segment.source_port, flags,
            segment.seq, segment.length)
    end
    local kind = kind_of(flags)
    local offer = is_single and (kind == SYN or kind == SYN_ACK) and read_offer() or nil
    local annotation = tracker:segment(stream, number, value_of((get_time())), segment.source, segment.source_port,
        segment.destination, segment.destination_port, flags, segment.seq, segment.ack, segment.length, offer)
    return annotation, tracker.connections[stream]
end

--- Reads the i-th of the occurrences as one segment.
local function segment_at(columns, index)
    return {
        source_port = columns[1][index].value, destination_port = columns[2][index].value,
        stream = columns[3][index].value, length = columns[4][index].value, flags = columns[5][index].value,
        seq = columns[6][index].value, ack = columns[7][index].value,
        ordinal = 0,
    }
end

--- Reads the only TCP header of a frame.
-- @return the segment, or nil if it is none (G1)
local function only_segment(source_port, pinfo)
    local destination_port, stream, length, flags = get_destination_port(), get_stream(), get_length(), get_flags()
    local seq, ack = get_seq(), get_ack()
    if not (destination_port and stream and length and flags and seq and ack) then
        return nil
    end
    return {
        source_port = source_port.value, destination_port = destination_port.value,
        stream = stream.value, length = length.value, flags = flags.value,
        seq = seq.value, ack = ack.value,
        source = pinfo.src, destination = pinfo.dst,
        ordinal = 0,
    }
end

--- Addresses of the segments of a frame (G3).
-- @return two lists of occurrences, or nil for those of the innermost network layer
local function addresses_of(count)
    local sources, destinations = { get_ip_source() }, { get_ip_destination() }
    if #sources == count and #destinations == count then
        return sources, destinations
    end
    sources, destinations = { get_ipv6_source() }, { get_ipv6_destination() }
    if #sources == count and #destinations == count then
        return sources, destinations
    end
    return nil, nil
end

--- The segments of a frame with several headers (G1 to G3).
-- @return a list, empty if there are none, and: are there some of which cannot be told which is quoted
local function several_segments(pinfo)
    local columns = {
        { get_source_port() }, { get_destination_port() }, { get_stream() }, { get_length() }, { get_flags() },
        { get_seq() }, { get_ack() },
    }
    local count, equal = #columns[1], true
    for index = 2, #columns do
        equal = equal and #columns[index] == #columns[1]
        count = min(count, #columns[index])
    end
    if count == 0 or (not equal and network_error_kind()) then
        return {}, count > 0
    end
    local sources, destinations
    if count > 1 then
        sources, destinations = addresses_of(count)
    end
    local segments, ordinals = {}, {}
    for index = 1, count do
        local segment = segment_at(columns, index)
        segment.source = sources and sources[index].value or pinfo.src
        segment.destination = destinations and destinations[index].value or pinfo.dst
        segment.ordinal = ordinals[segment.stream] or 0
        ordinals[segment.stream] = segment.ordinal + 1
        segments[index] = segment
    end
    return segments, false
end

--- Last of the values given, or nil.
local function last_value(...)
    local count = select("#", ...)
    return count > 0 and (select(count, ...)).value or nil
end

--- A frame without segments: perhaps a network error (N1).
local function dissect_error(number, is_new, pinfo, tree)
    local kind = network_error_kind()
    if not kind then
        return
    end
    local annotation
    if is_new then
        local source, destination
        if kind == "ip" then
            source, destination = last_value(get_ip_source()), last_value(get_ip_destination())
        else
            source, destination = last_value(get_ipv6_source()), last_value(get_ipv6_destination())
        end
        local source_port = last_value(get_source_port())
        local destination_port = last_value(get_destination_port())
        if source and destination and source_port and destination_port then
            annotation = tracker:network_error(number, value_of((get_time())), source, source_port, destination,
                destination_port, last_value(get_stream()))
        end
    else
        annotation = tracker:recall_error(number)
    end
    if annotation then
        show(annotation, tracker.connections[annotation.stream], pinfo, tree)
    end
end

--- A plain segment of a connection on which nothing is going on: most segments of most captures.
-- @param source_port that of the only header of the frame
-- @return its annotation and its connection, or nil: then the frame must be read in full
local function steady_annotation(number, source_port, pinfo)
    local stream, flags = get_stream(), get_flags()
    if not (stream and flags and get_length()) then
        return nil, nil
    end
    stream, flags = stream.value, flags.value
    if flags % 8 ~= 0 or flags % 32 < 16 then
        return nil, nil
    end
    return tracker:steady_segment(stream, number, pinfo.src, source_port.value), tracker.connections[stream]
end

--- Dissects a frame that carries a TCP header, whole or quoted.
-- Every header has a source port: with one of them there is one header, and nothing to count (G2).
local function dissect_headers(first_port, second_port, pinfo, tree)
    local number = pinfo.number
    local is_new = number > last_frame
    if is_new then
        last_frame = number
        if not second_port then
            local annotation, connection = steady_annotation(number, first_port, pinfo)
            if annotation then
                show(annotation, connection, pinfo, tree)
                return
            end
        end
    end
    local segments, is_suppressed
    if second_port then
        segments, is_suppressed = several_segments(pinfo)
    else
        segments = { only_segment(first_port, pinfo) }
    end
    for index = 1, #segments do
        local annotation, connection = annotate(segments[index], number, is_new, #segments == 1)
        if annotation then
            show(annotation, connection, pinfo, tree)
        end
    end
    if #segments == 0 and not is_suppressed then -- N1
        dissect_error(number, is_new, pinfo, tree)
    end
end

function proto.init()
    reset_tracker()
end

function proto.dissector(_, pinfo, tree)
    local first_port, second_port = get_source_port()
    if first_port then
        dissect_headers(first_port, second_port, pinfo, tree)
    end
end

reset_tracker()
register_postdissector(proto)
