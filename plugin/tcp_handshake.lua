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
-- G8: identities from here on are timestamps, below it identifications of an IP header; how many segments are compared.
local TIMESTAMP, RECENT = 65536, 4
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

-- What is kept of a segment: places in a list.
local ORDINAL, FRAME, TIME, FROM, FLAGS, SEQ, ACK, LENGTH, OFFER, IDENTITY = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10

-- The teardown steps as strings: formatting 1 differs between versions of Lua.
local DIGITS = { "1", "2", "3", "4" }

-- A. In the order of the table.
local ANOMALIES = {
    "syn-retransmission", "syn-ack-retransmission", "fin-retransmission", "connection-refused", "unreachable",
    "handshake-aborted", "simultaneous-open", "simultaneous-close", "syn-with-data", "half-close-data",
    "data-after-fin", "rst-after-fin", "segment-after-close", "port-reuse", "ack-mismatch", "invalid-flags",
    "syn-on-established", "duplicate",
}
-- A3
local IS_RETRANSMISSION = {
    ["syn-retransmission"] = true, ["syn-ack-retransmission"] = true, ["fin-retransmission"] = true,
}

-- Anomalies that a segment without a role has of the situation it was sent in; others it has of its own.
local IS_FOLLOWING = {
    ["invalid-flags"] = true, ["segment-after-close"] = true, ["half-close-data"] = true, ["data-after-fin"] = true,
    ["half-close-data+data-after-fin"] = true,
}

-- ================================================================================================== state machine
-- Plain Lua: nothing of Wireshark down to the next double line.

--- How far number a is after number b.
-- @param a, b sequence or acknowledgement numbers
-- @return (a - b) mod 2^32
local function distance(a, b)
    return (a - b) % MODULUS
end

-- G7: the kind of a segment by the lowest five of its flags, ACK 16, PSH 8, RST 4, SYN 2, FIN 1.
local KINDS = {}
for flags = 0, 31 do
    local fin, syn, ack = flags % 2 >= 1, flags % 4 >= 2, flags >= 16
    if flags % 8 >= 4 then
        KINDS[flags] = RST
    elseif (syn and fin) or not (syn or ack) then
        KINDS[flags] = INVALID
    elseif syn then
        KINDS[flags] = ack and SYN_ACK or SYN
    else
        KINDS[flags] = fin and FIN or PLAIN
    end
end

--- What is remembered of an end (X) before it sent anything. The names with nil get their room at once.
-- @param state its state
local function new_end(state)
    return {
        state = state, progress = 0, syn_length = 0, awaiting = false,
        isn = nil, syn_seen = false, syn_time = nil, syn_frame = nil, syn_frame_time = nil,
        synack_seen = false, synack_ack = nil, synack_frame = nil, synack_frame_time = nil,
        first_seq = nil, first_ack = nil,
        -- rejected, fin_seq, fin_length, fin_frame, fin_frame_time, fin_step, fin_acked, fin_was_acked
    }
end

--- What is remembered of an attempt (X) before its first segment.
local function new_attempt()
    return {
        false, false, -- was a SYN or SYN-ACK of this end seen (Z2)?
        syn_seen = false, syn_ack_seen = false, syn_ack_matched = false, third_step_seen = false, opened = false,
        closed = false, first_fin_by = nil, first_fin_time = nil,
        -- simultaneous_open, simultaneous_close, merged, reset_by, refused, aborted, unreachable
    }
end

--- Forgets the FIN of an end.
local function forget_fin(this)
    this.fin_seq, this.fin_length, this.fin_frame = nil, nil, nil
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

-- Notes on the segment being judged: the one table of a tracker with frame, time, from (index of S), to (index of P),
-- kind, flags, seq, ack, length, and what the rules say of it: role and teardown_step (joined with "+"), anomalies (a
-- set, or nil) and, if somebody looks, words and response_time.

local function add_role(segment, role)
    segment.role = segment.role and segment.role .. "+" .. role or role
end

local function add_teardown_step(segment, step)
    local digit = DIGITS[step]
    segment.teardown_step = segment.teardown_step and segment.teardown_step .. "+" .. digit or digit
end

local function add_anomaly(segment, anomaly)
    segment.anomalies = segment.anomalies or {}
    segment.anomalies[anomaly] = true
end

--- Adds a part to the explanation, if somebody looks; numbers are formatted as such on every version of Lua.
local function explain(segment, template, ...)
    local words = segment.words
    if words then
        words[#words + 1] = format(template, ...)
    end
end

--- Time since an earlier one, if somebody looks.
local function time_since(segment, earlier)
    return segment.words and segment.subtract(segment.time, earlier)
end

--- H10: the segment answers a frame.
local function answer(segment, frame, time)
    if frame then
        segment.responds_to = frame
        segment.response_time = time_since(segment, time)
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

--- Says that the numbers of an explanation are raw: Wireshark shows relative ones by default.
local function with_unit(text)
    if text:find("=", 1, true) then
        return text .. " (raw sequence numbers)"
    end
    return text:find("%d") and text .. " (raw)" or text
end

--- Explains an acknowledgement of the peer's SYN or SYN-ACK.
local function explain_ack(segment, peer, what)
    if not segment.words then
        return
    end
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

local function explain_isn(segment, verb)
    explain(segment, "%s the initial sequence number %.0f", verb or "proposes", segment.seq)
end

--- Role SYN, step 1.
-- @param repeated was it sent before
local function note_syn(connection, segment, repeated)
    local sender = connection[segment.from]
    add_role(segment, SYN)
    segment.handshake_step = 1
    connection.attempt.syn_seen = true
    connection.attempt[segment.from] = true
    sender.progress = max(sender.progress, 1)
    sender.syn_length = max(sender.syn_length, segment.length) -- X: of all its transmissions
    -- H10: the frame answered is the latest transmission.
    sender.syn_frame, sender.syn_frame_time = segment.frame, segment.time
    if repeated then
        add_anomaly(segment, "syn-retransmission")
    end
    explain_isn(segment, repeated and "repeats")
end

--- Remembers a SYN as that of its sender.
local function remember_syn(connection, segment)
    local sender = connection[segment.from]
    sender.isn, sender.syn_seen, sender.syn_time = segment.seq, true, segment.time
    note_syn(connection, segment, false)
end

--- H2: everything of the former attempt is forgotten.
local function begin_attempt(connection, segment)
    local former, sender = connection[segment.from], new_end(SYN_SENT)
    connection[segment.from], connection[segment.to] = sender, new_end(LISTEN)
    connection.attempt = new_attempt()
    if former.syn_seen and former.isn == segment.seq then
        sender.isn, sender.syn_seen, sender.syn_time = former.isn, true, former.syn_time
        note_syn(connection, segment, true)
    else
        remember_syn(connection, segment)
        add_anomaly(segment, "port-reuse")
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
        connection[segment.from] = new_end(SYN_SENT)
        connection.attempt = new_attempt()
        forget_fin(peer)
        explain(segment, "comes on a live connection: the %s may have restarted", end_name(connection, segment.from))
        remember_syn(connection, segment)
        add_anomaly(segment, "syn-on-established")
    end
end

--- Role SYN-ACK, step 2.
local function note_syn_ack(connection, segment)
    local sender = connection[segment.from]
    add_role(segment, SYN_ACK)
    segment.handshake_step = 2
    connection.attempt.syn_ack_seen = true
    connection.attempt[segment.from] = true
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
        explain_isn(segment)
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
    add_teardown_step(segment, peer.fin_step + 1)
    if not segment.responds_to then
        answer(segment, peer.fin_frame, peer.fin_frame_time)
    end
    if segment.words then
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

--- T2: is payload beyond the sender's own FIN?
local function is_after_fin(fin_seq, seq, length)
    if not fin_seq then
        return false
    end
    local beyond = distance(seq + length, fin_seq)
    return beyond >= 1 and beyond < HALF
end

--- T2: would payload be sent to a peer that has closed its direction?
local function is_half_closed(sender, peer)
    return sender.state == CLOSE_WAIT and peer.fin_acked == true
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
    sender.fin_length = segment.length
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
        if segment.words then
            local verb = again and "closes its direction again" or "closes its direction"
            local sum = segment.length > 0 and format(" = %.0f + %.0f", segment.seq, segment.length) or ""
            explain(segment, "%s: the FIN occupies sequence number %.0f%s", verb, sender.fin_seq, sum)
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
    if segment.flags % 32 < 16 then -- without ACK
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

--- Z2
local function conn_state_of(connection)
    local attempt, client, server = connection.attempt, connection.client, 3 - connection.client
    -- Was a SYN or SYN-ACK of it seen? note_syn and note_syn_ack keep it by the index of the end.
    local of_client, of_server = attempt[client], attempt[server]
    local client_fin, server_fin = connection[client].fin_seq, connection[server].fin_seq
    if attempt.closed then -- Z2.1
        return "SF"
    elseif attempt.reset_by == server then -- Z2.2
        if of_client then
            return of_server and "RSTR" or "REJ"
        end
        return of_server and "RSTRH" or "OTH"
    elseif attempt.reset_by == client then -- Z2.3
        return of_server and "RSTO" or of_client and "RSTOS0" or "OTH"
    elseif client_fin and server_fin then -- Z2.4
        return "SF"
    elseif client_fin then -- Z2.5
        return of_server and "S2" or of_client and "SH" or "OTH"
    elseif server_fin then -- Z2.6
        return of_client and "S3" or of_server and "SHR" or "OTH"
    elseif of_client then -- Z2.7
        return of_server and "S1" or "S0"
    end
    return "OTH"
end

--- Z1: the letters that a segment gives, in their order.
-- @param flags the lowest five
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

-- Z1: those of each end by the lowest five flags, 32 more with payload; the second end's in lower case.
local LETTERS = { {}, {} }
for flags = 0, 31 do
    LETTERS[1][flags], LETTERS[1][flags + 32] = letters_of(flags, false), letters_of(flags, true)
    LETTERS[2][flags], LETTERS[2][flags + 32] = LETTERS[1][flags]:lower(), LETTERS[1][flags + 32]:lower()
end

--- Z1: records what a segment adds to the history; it is kept as if the first end were the client.
local function note_letters(connection, segment)
    local letters = LETTERS[segment.from][segment.flags % 32 + (segment.length > 0 and 32 or 0)]
    for index = 1, #letters do
        local letter = letters:sub(index, index)
        if not connection.letters:find(letter, 1, true) then
            connection.letters = connection.letters .. letter
        end
    end
end

--- Z1: by the present choice of client.
-- @return the history, or nil if it is empty
local function history_of(connection)
    local letters = connection.letters
    if connection.client == 2 then
        letters = "^" .. letters:gsub("%a", function(letter)
            local upper = letter:upper()
            return letter == upper and letter:lower() or upper
        end)
    end
    return letters ~= "" and letters or nil
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
local function note_offer(connection, segment, annotation)
    local mine, offer = { ecn = offers_ecn(segment.kind, segment.flags) }, segment.offer
    if offer then
        mine.sack_permitted, mine.timestamps = offer.sack_permitted == true, offer.timestamps == true
        annotation.mss, annotation.window_scale = offer.mss, offer.window_scale
        annotation.fast_open = offer.fast_open
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
    if not connection.client_is_settled and (segment.kind == SYN or segment.kind == SYN_ACK) then
        connection.client = segment.kind == SYN and segment.from or segment.to
        connection.client_is_settled = true
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
            segment.is_stopped = true
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
        segment.is_stopped = true
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
    if segment.length > 0 and (segment.role == SYN or segment.role == SYN_ACK) then -- A1
        add_anomaly(segment, "syn-with-data")
    end
    connection.fresh = false
    if IS_OPENED[connection[1].state] and IS_OPENED[connection[2].state] then -- X3
        connection.attempt.opened = true
    end
end

-- ----------------------------------------------------------------------------------------------- G8. Captured twice

--- Is a segment one that was captured before?
local function is_duplicate(connection, entry, kind)
    local recent, identity = connection.recent[entry[FROM]], entry[IDENTITY]
    if not (recent and identity) then
        return false
    end
    local tells = kind == SYN or kind == FIN
    if not connection.had_duplicate and (identity == 0 or (identity >= TIMESTAMP and not tells)) then
        return false
    end
    for index = 1, #recent do
        local other = recent[index]
        if other[IDENTITY] == identity and other[FLAGS] == entry[FLAGS] and other[SEQ] == entry[SEQ]
            and other[ACK] == entry[ACK] and other[LENGTH] == entry[LENGTH] then
            return true
        end
    end
    return false
end

--- Remembers a segment that was judged for those to come.
local function note_recent(connection, segment, entry)
    local recent = connection.recent[segment.from]
    if not segment.role then
        if not segment.is_stopped then
            connection.recent[segment.from] = nil
        end
    elseif recent then
        recent[#recent + 1] = entry
        if #recent > RECENT then
            table.remove(recent, 1)
        end
    else
        connection.recent[segment.from] = { entry }
    end
end

-- -------------------------------------------------------------------------------------------------- What is kept
-- Of every connection the segments that changed or said something. At first they are kept in a log, as they came:
-- hardly anybody looks at most connections of a capture. When somebody does, they are judged again from the beginning
-- (G6), and from then on each is kept with its annotation and the situation after it. What a segment without effect
-- gets follows from the situation in which it was sent.

--- Joins the anomalies of a set in the order of table A.
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

--- The situation of a connection: the same table as before if nothing in it has changed.
local function situation_of(connection)
    local one, two, old = connection[1], connection[2], connection.situation
    local client, over = connection.client, is_over(connection)
    local half_closed_1, half_closed_2 = is_half_closed(one, two), is_half_closed(two, one)
    if old and old[1] == one.state and old[2] == two.state and old.client == client and old.over == over
        and old.fin_seq_1 == one.fin_seq and old.fin_seq_2 == two.fin_seq
        and old.half_closed_1 == half_closed_1 and old.half_closed_2 == half_closed_2 then
        return old
    end
    return {
        one.state, two.state, client = client, over = over, fin_seq_1 = one.fin_seq, fin_seq_2 = two.fin_seq,
        half_closed_1 = half_closed_1, half_closed_2 = half_closed_2, remarks = { {}, {} },
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
        local fin_seq, half_closed = situation.fin_seq_1, situation.half_closed_1
        if from == 2 then
            fin_seq, half_closed = situation.fin_seq_2, situation.half_closed_2
        end
        local after_fin = is_after_fin(fin_seq, seq, length)
        if half_closed or after_fin then
            anomaly = join_anomalies({ ["half-close-data"] = half_closed, ["data-after-fin"] = after_fin })
        end
    end
    local remarks = situation.remarks[from]
    local annotation = remarks[anomaly or ""]
    if not annotation then
        annotation = new_annotation(situation, from)
        annotation.anomaly = anomaly
        remarks[anomaly or ""] = annotation
    end
    return annotation
end

--- Annotation of a segment that was judged.
local function annotation_of(connection, segment, situation)
    local annotation = new_annotation(situation, segment.from)
    local words = segment.words
    annotation.role, annotation.anomaly = segment.role, segment.anomaly
    annotation.handshake_step, annotation.teardown_step = segment.handshake_step, segment.teardown_step
    annotation.is_simultaneous_close = segment.is_simultaneous_close
    for anomaly in pairs(segment.anomalies or {}) do -- A3
        if IS_RETRANSMISSION[anomaly] then
            annotation.retransmission = true
        end
    end
    annotation.responds_to, annotation.response_time = segment.responds_to, segment.response_time
    annotation.handshake_time, annotation.teardown_time = segment.handshake_time, segment.teardown_time
    annotation.explanation = #words > 0 and with_unit(concat(words, "; ")) or nil
    if segment.role == SYN or segment.role == SYN_ACK then
        note_offer(connection, segment, annotation)
    end
    return annotation
end

--- May plain segments of an end skip the rules, because they can neither change nor say anything?
local function is_steady(connection, from)
    local sender, peer = connection[from], connection[3 - from]
    return sender.state == ESTABLISHED and peer.state == ESTABLISHED and sender.progress == 3 and not peer.awaiting
        and not sender.fin_seq and not peer.fin_seq and not connection.recent[from]
end

-- Which plain segments can neither change nor say anything, nor add to the history (Z1): of which end those with
-- payload and those without, 1, 2, 3 for both, or 0 for neither; one table for each of the possibilities.
local QUIET = {}
for with_payload = 0, 3 do
    QUIET[with_payload] = {}
    for without = 0, 3 do
        QUIET[with_payload][without] = { with_payload = with_payload, without = without }
    end
end
local ALL_QUIET, NONE_QUIET = QUIET[3][3], QUIET[0][0]

--- Which plain segments are quiet now?
-- @return a table of QUIET, or nil for none
local function quiet_of(connection)
    local with_payload, without, letters = 0, 0, connection.letters
    if is_steady(connection, 1) then
        with_payload, without = letters:find("D", 1, true) and 1 or 0, letters:find("A", 1, true) and 1 or 0
    end
    if is_steady(connection, 2) then
        with_payload = with_payload + (letters:find("d", 1, true) and 2 or 0)
        without = without + (letters:find("a", 1, true) and 2 or 0)
    end
    local quiet = QUIET[with_payload][without]
    return quiet ~= NONE_QUIET and quiet or nil
end

--- Everything that a segment without a role and an anomaly of its own can change, unless it is the first (X, G8, Z1).
local function marks_of(connection, from)
    local sender, peer = connection[from], connection[3 - from]
    return sender.state, peer.state, sender.progress, connection.recent[from], connection.letters
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
--   local tracker = new(subtract)
--   tracker:segment(stream, frame, time, source, source_port, destination, destination_port,
--                   flags, seq, ack, length, offer, identity)   -> annotation
--   tracker:take(the same)                            -> less than that, faster, when nobody looks
--   tracker:recall(stream, frame, ordinal, source, source_port, flags, seq, length)
--                                                     -> annotation and record of the connection, or nil
--   tracker:network_error(frame, time, source, source_port, destination, destination_port, stream)
--                                                     -> annotation or nil (no effect)
--   tracker:connection(stream)                        -> summary or nil
--
-- Addresses are any values with an `==` and a tostring that is the same for equal ones; they may be nil where
-- Tracker:needs_addresses says so. Times are any values that subtract takes. The offer is nil if the options are not
-- known, else a table with mss, window_scale (numbers or nil), sack_permitted, timestamps (true or not), fast_open (a
-- string or nil). The identity is that of G8, or nil.
--
-- An annotation is a read-only table: sender, client_state, server_state, and where they apply role, teardown_step,
-- anomaly (strings joined with "+"), handshake_step, retransmission (true), responds_to, response_time,
-- handshake_time, teardown_time, explanation; on a SYN or SYN-ACK also mss, window_scale, fast_open (its sender's),
-- sack_permitted, timestamps and ecn; with a teardown_step also is_simultaneous_close (true), if it is known to be one
-- by then; once the whole capture was taken, answered_in. That of a network error has stream and no sender.
--
-- A summary is a read-only table of the values at the moment: establishment, termination, closed_by (or nil),
-- conn_state, history (or nil), handshake_time, teardown_time, anomalies (or nil), client_state, server_state, client,
-- client_port, server, server_port.
local Tracker = {}
Tracker.__index = Tracker

--- A new tracker.
-- @param subtract function (later, earlier) for times; without it they are plain numbers
local function new(subtract)
    local minus = subtract or function(later, earlier)
        return later - earlier
    end
    -- A time that the capture lacks gives none.
    local function elapsed(later, earlier)
        if later ~= nil and earlier ~= nil then
            return minus(later, earlier)
        end
        return nil
    end
    return setmetatable({
        subtract = elapsed,
        connections = {}, -- stream -> connection
        quiet = {}, -- stream -> which plain segments, alone in their frame, need not be taken (QUIET)
        latest = {}, -- key of two ends -> their latest connection
        errors = {}, -- frame -> annotation of a network error with an effect
        judged = { subtract = elapsed }, -- notes on the latest segment
    }, Tracker)
end

--- Has a connection these addresses, in either direction?
local function has_addresses(connection, one, other)
    local addresses = connection.addresses
    return (addresses[1] == one and addresses[2] == other) or (addresses[1] == other and addresses[2] == one)
end

--- Key of the two ends of a connection, in either direction.
function Tracker:key_of_ends(source, source_port, destination, destination_port)
    local one, two = tostring(source), tostring(destination)
    if two < one or two == one and destination_port < source_port then
        one, source_port, two, destination_port = two, destination_port, one, source_port
    end
    local key = one .. " " .. source_port .. " " .. two .. " " .. destination_port
    -- Where names are resolved, different addresses can have one name.
    while self.latest[key] and not has_addresses(self.latest[key], source, destination) do
        key = key .. "+"
    end
    return key
end

--- A connection before its first segment.
local function new_connection(stream, frame, former, addresses, ports)
    local client = ports[1] < ports[2] and 2 or 1 -- E2: the lower port is the server's
    return {
        stream = stream, first_frame = frame, former = former, -- the former one between the two ends
        addresses = addresses, ports = ports, -- G5
        log = {},
        client = client, client_is_settled = false,
        fresh = true, is_begun = false, closed_by_error = false,
        attempt = new_attempt(),
        recent = {}, had_duplicate = false, -- G8: recent by end, nil if there are none
        letters = "", -- Z1: as if the first end were the client
        anomalies = {}, handshake_time = nil, teardown_time = nil,
        new_end(client == 1 and CLOSED or LISTEN), new_end(client == 2 and CLOSED or LISTEN),
        -- last_frame, last_ordinal; once somebody looked, instead of the log: keys, annotations, situations, situation,
        -- offers, answerable (annotations with a role by frame)
    }
end

--- Begins a connection with its first segment.
function Tracker:open(stream, frame, source, source_port, destination, destination_port)
    local key = self:key_of_ends(source, source_port, destination, destination_port)
    local connection = new_connection(stream, frame, self.latest[key], { source, destination },
        { source_port, destination_port })
    self.latest[key] = connection
    self.connections[stream] = connection
    return connection
end

--- Index of the end that sent a segment (G5).
local function sender_of(connection, source, source_port)
    local ports = connection.ports
    if source_port ~= ports[1] then
        return 2
    end
    return (source_port ~= ports[2] or source == connection.addresses[1]) and 1 or 2
end

--- Do the addresses of a segment matter, or do the ports say all (G5)?
function Tracker:needs_addresses(stream)
    local connection = self.connections[stream]
    return not connection or connection.ports[1] == connection.ports[2]
end

--- Index of the end of a stream that sent a segment.
function Tracker:sender(stream, source, source_port)
    return sender_of(self.connections[stream], source, source_port)
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

--- Judges the next segment of a connection.
-- @param entry what is kept of it
-- @param is_watched does somebody look
-- @return what is said of it, until the next one is judged
function Tracker:judge(connection, entry, is_watched)
    local segment, from, kind = self.judged, entry[FROM], KINDS[entry[FLAGS] % 32]
    segment.frame, segment.time, segment.from, segment.to = entry[FRAME], entry[TIME], from, 3 - from
    segment.kind, segment.flags, segment.seq, segment.ack = kind, entry[FLAGS], entry[SEQ], entry[ACK]
    segment.length, segment.offer = entry[LENGTH], entry[OFFER]
    segment.role, segment.handshake_step, segment.teardown_step, segment.anomalies = nil, nil, nil, nil
    segment.responds_to, segment.response_time, segment.handshake_time, segment.teardown_time = nil, nil, nil, nil
    segment.is_stopped, segment.words = nil, is_watched and {} or nil
    if connection.former and not connection.is_begun and (kind == SYN or kind == SYN_ACK) then -- A2
        add_anomaly(segment, "port-reuse")
    end
    connection.is_begun = true
    if is_duplicate(connection, entry, kind) then
        connection.had_duplicate = true
        add_anomaly(segment, "duplicate")
    else
        judge(connection, segment)
        note_letters(connection, segment)
        note_recent(connection, segment, entry)
    end
    for anomaly in pairs(segment.anomalies or {}) do -- C16
        connection.anomalies[anomaly] = true
    end
    connection.handshake_time = connection.handshake_time or segment.handshake_time -- C8
    connection.teardown_time = segment.teardown_time or connection.teardown_time -- C10
    segment.anomaly = join_anomalies(segment.anomalies)
    segment.is_simultaneous_close = segment.teardown_step and connection.attempt.simultaneous_close
    return segment
end

--- Judges a segment when nobody looks, and logs it if it changes or says something.
function Tracker:log(connection, entry)
    local log, from = connection.log, entry[FROM]
    local state, peer_state, progress, recent, letters = marks_of(connection, from)
    local segment = self:judge(connection, entry, false)
    local is_kept = #log == 0 or segment.role or segment.anomaly and not IS_FOLLOWING[segment.anomaly]
    if not is_kept then
        local a, b, c, d, e = marks_of(connection, from)
        is_kept = a ~= state or b ~= peer_state or c ~= progress or d ~= recent or e ~= letters
    end
    if is_kept then
        log[#log + 1] = entry
    end
    return segment
end

--- Notes in the annotation of a segment which frame answers it.
-- @param answered the frame of the segment, or nil
local function note_answer(connection, answered, frame)
    local annotation = answered and connection.answerable[answered]
    if annotation then
        annotation.answered_in = annotation.answered_in or frame
    end
end

--- Judges a segment, and keeps its annotation if it changes or says something.
-- @return its annotation
function Tracker:annotate(connection, entry)
    local segment = self:judge(connection, entry, true)
    local former = connection.situation
    local situation = situation_of(connection)
    connection.situation = situation
    if situation == former and not segment.role then
        local shared = remark(situation, segment.from, segment.kind, segment.seq, segment.length)
        if shared.anomaly == segment.anomaly then
            return shared
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

--- A network error closes the client (N2).
local function close_by_error(connection, frame)
    local client = connection[connection.client]
    client.state = CLOSED
    connection.closed_by_error = true
    connection.attempt.unreachable = true
    connection.anomalies["unreachable"] = true
    if connection.log then
        connection.log[#connection.log + 1] = frame
    else
        note_answer(connection, client.syn_frame, frame)
    end
end

--- Judges a connection again from its log, now that somebody looks.
function Tracker:review(connection)
    local log, anomalies, was = connection.log, connection.anomalies, connection
    for name, value in pairs(new_connection(was.stream, was.first_frame, was.former, was.addresses, was.ports)) do
        connection[name] = value
    end
    connection.log = nil
    connection.keys, connection.annotations, connection.situations, connection.offers = {}, {}, {}, {}
    connection.answerable = {}
    for index = 1, #log do
        local entry = log[index]
        if type(entry) == "table" then
            self:annotate(connection, entry)
        else -- the frame of a network error
            close_by_error(connection, entry)
        end
    end
    connection.anomalies = anomalies -- also those of segments that were not logged
end

--- Takes the next segment of the capture when nobody looks.
-- @return what is said of it: a table with role, handshake_step, teardown_step, is_simultaneous_close and anomaly as in
--   an annotation, until the next segment is taken
function Tracker:take(stream, frame, time, source, source_port, destination, destination_port,
                      flags, seq, ack, length, offer, identity)
    local connection = self.connections[stream]
        or self:open(stream, frame, source, source_port, destination, destination_port)
    local from, ordinal = sender_of(connection, source, source_port), next_ordinal(connection, frame)
    local entry = { ordinal, frame, time, from, flags, seq, ack, length, offer, identity }
    local said = connection.log and self:log(connection, entry) or self:annotate(connection, entry)
    self.quiet[stream] = quiet_of(connection)
    return said
end

--- Annotates the next segment of the capture.
function Tracker:segment(stream, frame, time, source, source_port, destination, destination_port,
                         flags, seq, ack, length, offer, identity)
    local connection = self.connections[stream]
        or self:open(stream, frame, source, source_port, destination, destination_port)
    if connection.log then
        self:review(connection)
    end
    return self:take(stream, frame, time, source, source_port, destination, destination_port, flags, seq, ack, length,
        offer, identity)
end

--- The annotation of a segment that was taken before, or needed not be.
-- @param ordinal its ordinal among the segments of its connection in its frame, from 0
-- @return the annotation and the record of its connection, or nil
function Tracker:recall(stream, frame, ordinal, source, source_port, flags, seq, length)
    local connection = self.connections[stream]
    -- Wireshark itself can put a segment into a later stream of the same ends when it dissects it again.
    while connection and connection.first_frame > frame do
        connection = connection.former
    end
    if not connection then
        return nil, nil
    end
    if connection.log then
        self:review(connection)
    end
    local key = frame * ORDINALS + ordinal
    local index = last_up_to(connection.keys, key)
    if connection.keys[index] == key then
        return connection.annotations[index], connection
    end
    local from = sender_of(connection, source, source_port)
    return remark(connection.situations[index], from, KINDS[flags % 32], seq, length), connection
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
    local is_from_client = source_port == connection.ports[connection.client]
        and source == connection.addresses[connection.client]
    if client.state ~= SYN_SENT or not is_idle(server) or not is_from_client then
        return nil
    end
    close_by_error(connection, frame)
    local annotation = {
        stream = connection.stream,
        client_state = client.state, server_state = server.state,
        anomaly = "unreachable",
        responds_to = client.syn_frame,
        response_time = self.subtract(time, client.syn_frame_time),
        explanation = with_unit(format("reports that the client's SYN with sequence number %.0f did not arrive",
            client.isn)),
    }
    self.errors[frame] = annotation
    return annotation
end

--- The annotation of a network error that had an effect, or nil.
function Tracker:recall_error(frame)
    return self.errors[frame]
end

--- Summary of a connection at the moment.
local function summary_of(connection)
    local client, server = connection.client, 3 - connection.client
    return {
        establishment = establishment_of(connection), termination = termination_of(connection),
        closed_by = closed_by_of(connection),
        conn_state = conn_state_of(connection), history = history_of(connection),
        handshake_time = connection.handshake_time, teardown_time = connection.teardown_time,
        anomalies = join_anomalies(connection.anomalies),
        client = connection.addresses[client], client_port = connection.ports[client],
        server = connection.addresses[server], server_port = connection.ports[server],
        client_state = connection[client].state, server_state = connection[server].state,
    }
end

--- Summary of the connection of a stream at the moment, or nil.
function Tracker:connection(stream)
    local connection = self.connections[stream]
    return connection and summary_of(connection)
end

if not Proto then
    return { new = new, VERSION = VERSION, ANOMALIES = ANOMALIES }
end

-- ================================================================================================== Wireshark layer

local version = tostring(get_version and get_version() or "an older one")
if (tonumber(version:match("^%d+")) or 0) < 4 then
    local complain = report_failure or print
    complain(format("tcp_handshake.lua needs Wireshark 4.0 or later; this is %s. It is not loaded.", version))
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
    "Put [Handshake 2/3], [Teardown 1/4], [Reset] and the like at the beginning of the Info column")
proto.prefs.explanations = Pref.bool("Explain the steps", true,
    "Add a line to the tree that explains the sequence and acknowledgement numbers of a step")
proto.prefs.slow_handshake = Pref.uint("Slow handshake (milliseconds)", 1000,
    "Expert information on handshakes that take longer than this; 0 for none")

-- ----------------------------------------------------------------------------------------------------------- Fields

--- A new field. The constructors differ in what stands between title and blurb.
local function new_field(name, kind, title, blurb)
    local constructor, abbreviation = ProtoField[kind], "tcp_handshake." .. name
    if kind == "string" then
        return constructor(abbreviation, title, nil, blurb)
    elseif kind == "relative_time" then
        return constructor(abbreviation, title, blurb)
    elseif kind == "framenum" then
        local direction = name == "responds_to" and frametype.REQUEST or frametype.RESPONSE
        return constructor(abbreviation, title, base.NONE, direction, nil, blurb)
    end
    return constructor(abbreviation, title, kind == "bool" and base.NONE or base.DEC, nil, nil, blurb)
end

-- Name, kind, title, blurb; in the order of the tree.
local SO_FAR = "; as known so far in a first pass (one-pass tshark, live capture), that of the whole capture when the "
    .. "packet is dissected again"
local FIELDS = {
    { "role", "string", "Role",
        "Role in opening or closing: SYN, SYN-ACK, HANDSHAKE-ACK, ACK-OF-FIN, FIN or RST" },
    { "handshake_step", "uint8", "Handshake step", "Step of the three-way handshake, 1 to 3" },
    { "teardown_step", "uint8", "Teardown step",
        "Step of the closing, 1 to 4; in a simultaneous close 1 and 2 of either end" },
    { "explanation", "string", "Explanation", "The sequence and acknowledgement numbers of the step, explained" },
    { "responds_to", "framenum", "Responds to", "Frame of the SYN, SYN-ACK or FIN that this one answers" },
    { "answered_in", "framenum", "Answered in",
        "Frame that answers this SYN, SYN-ACK or FIN; known when the packet is dissected again" },
    { "response_time", "relative_time", "Response time", "Time since the frame that this one answers" },
    { "handshake_time", "relative_time", "Handshake time",
        "Time from the first transmission of the SYN to the third step" },
    { "teardown_time", "relative_time", "Teardown time",
        "Time from the first FIN to the acknowledgement of the last" },
    { "retransmission", "bool", "Retransmission", "A SYN, SYN-ACK or FIN that was sent before" },
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
        "How the latest attempt was opened: complete, partial, simultaneous, half-open, refused ..." .. SO_FAR },
    { "termination", "string", "Termination",
        "How the latest attempt was closed: four-way, three-way, simultaneous, reset, half-closed ..." .. SO_FAR },
    { "closed_by", "string", "Closed by",
        "Who closed the latest attempt first: client, server or both" .. SO_FAR },
    { "conn_state", "string", "Connection state (Zeek)",
        "State of the latest attempt in the words of Zeek's conn.log: SF, S0, S1, REJ, RSTO, OTH ..." .. SO_FAR },
    { "history", "string", "History (Zeek)",
        "What both ends did, in the letters of Zeek's conn.log, such as ShADadFf: upper case for the client, "
        .. "lower case for the server" .. SO_FAR },
    { "sack_permitted", "bool", "SACK permitted", "Offered by all SYNs and SYN-ACKs captured so far" },
    { "timestamps", "bool", "Timestamps", "Offered by all SYNs and SYN-ACKs captured so far" },
    { "ecn", "bool", "ECN", "Offered by all SYNs and SYN-ACKs captured so far" },
}

local fields, field_list = {}, {}
for index = 1, #FIELDS do
    local name, kind, title, blurb = FIELDS[index][1], FIELDS[index][2], FIELDS[index][3], FIELDS[index][4]
    fields[name] = new_field(name, kind, title, blurb)
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
    ["connection-refused"] = { RESPONSE, WARN,
        "The SYN was refused by a reset: usually nothing listens on that port, or a firewall rejects." },
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
    ["syn-on-established"] = { SEQUENCE, WARN, "A SYN or SYN-ACK on a live connection." },
    ["duplicate"] = { SEQUENCE, NOTE,
        "The capture holds this segment twice, as behind a mirror port: it was not sent again." },
}

local experts, expert_list = {}, {}
for index = 1, #ANOMALIES do
    local name = ANOMALIES[index]
    local group, severity, sentence = SENTENCES[name][1], SENTENCES[name][2], SENTENCES[name][3]
    experts[name] = ProtoExpert.new("tcp_handshake.expert." .. name:gsub("-", "_"), sentence, group, severity)
    expert_list[index] = experts[name]
end
local slow_handshake = ProtoExpert.new("tcp_handshake.expert.slow_handshake",
    "The handshake took longer than the preference allows.", SEQUENCE, NOTE)
expert_list[#expert_list + 1] = slow_handshake
proto.experts = expert_list

-- ------------------------------------------------------------------------------------------------------- Extractors

-- Wireshark keeps each value of these in each frame for us, and that costs more than all else that the plugin does for
-- most frames: what else there is in a TCP header is read from its bytes when it is needed.

-- G1
local get_port, get_stream = Field.new("tcp.srcport"), Field.new("tcp.stream")
local get_length, get_flags = Field.new("tcp.len"), Field.new("tcp.flags")
-- G3, N1: the network layers, with the types of their network errors; fragmentation needed is none.
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
-- C12: options of SYNs only
local get_mss, get_window_scale = Field.new("tcp.options.mss_val"), Field.new("tcp.options.wscale.shift")
local get_fast_open_request = Field.new("tcp.options.tfo.request")
local get_fast_open_cookie = Field.new("tcp.options.tfo.cookie")
-- G8
local get_identification = Field.new("ip.id")
-- H10: pinfo.abs_ts is a float and has no nanoseconds.
local get_time = Field.new("frame.time_epoch")

-- ---------------------------------------------------------------------------------------------- Reading of a frame

local tracker
local last_frame
-- A read filter in two passes (tshark -2 -R) gives the number of each frame that it drops to the next one, too. By such
-- a number and stream: the ordinal of the first segment of the frame that came last, which is the one that stays.
local first_ordinals

--- Value of the first of the occurrences given, or nil.
local function value_of(info)
    return info and info.value
end

--- Value of the last of the occurrences given, or nil.
local function last_value(...)
    local count = select("#", ...)
    return count > 0 and (select(count, ...)).value or nil
end

local function reset()
    tracker = new() -- NSTime subtracts as numbers do
    last_frame, first_ordinals = 0, {}
end

--- Number in bytes as they are sent.
local function number_in(bytes)
    local number = 0
    for index = 1, #bytes do
        number = number * 256 + bytes:byte(index)
    end
    return number
end

--- Ports, sequence and acknowledgement number in a TCP header: at once, since it is done for each that is judged.
-- @param info the occurrence of its source port
local function read_numbers(info)
    local a, b, c, d, e, f, g, h, i, j, k, l = info.source:raw(info.offset, 12):byte(1, 12)
    return a * 256 + b, c * 256 + d, ((e * 256 + f) * 256 + g) * 256 + h, ((i * 256 + j) * 256 + k) * 256 + l
end

--- The last option of a kind in a TCP header, as far as it was captured.
-- @param info the occurrence of its source port
-- @return its content and its size, or nil if there is none
local function read_option(info, wanted)
    local source, offset = info.source, info.offset
    local header = source:raw(offset, min(60, source:len() - offset))
    local content, size_of_it
    local index, last = 21, floor(header:byte(13) / 16) * 4
    while index < last do
        local kind, size = header:byte(index, index + 1)
        if not kind or kind == 0 then -- end of the list
            break
        elseif kind == 1 then -- no operation
            size = 1
        elseif not size or size < 2 or index + size - 1 > last or (kind == 5 and (size < 10 or size % 8 ~= 2)) then
            break -- as Wireshark, which goes no further than a damaged SACK either
        end
        if kind == wanted then
            content, size_of_it = header:sub(index + 2, index + size - 1), size
        end
        index = index + size
    end
    return content, size_of_it
end

--- What a SYN or SYN-ACK offers (C12, C13).
local function read_offer(port)
    local offer = {
        mss = value_of(get_mss()), window_scale = value_of(get_window_scale()),
        sack_permitted = read_option(port, 4) ~= nil, timestamps = read_option(port, 8) ~= nil,
    }
    local cookie = get_fast_open_cookie()
    if cookie then -- C12: RFC 7413 allows no more than 16 bytes
        offer.fast_open = cookie.len <= 16 and cookie.value:tohex(true) or nil
    elseif get_fast_open_request() then
        offer.fast_open = "request"
    end
    return offer
end

--- Identity of the only segment of a frame (G8).
local function read_identity(port, flags)
    local identification = last_value(get_identification()) or 0
    if identification ~= 0 then
        return identification
    end
    local timestamps, size = read_option(port, 8)
    if size == 10 and #timestamps >= 4 then
        return TIMESTAMP + number_in(timestamps:sub(1, 4))
    end
    return flags % 8 >= 4 and 0 or nil -- an RST
end

--- Does the frame hold a network error (N1)?
-- @return the network layer of the quoted ends, or nil; and: is it a destination unreachable
local function network_error()
    for _, network in ipairs(NETWORKS) do
        local types, codes = { network.get_type() }, { network.get_code() }
        for index = 1, #types do
            local kind = types[index].value
            local is_unreachable = kind == network.unreachable
            local is_harmless = is_unreachable and network.fragmentation_needed
                and value_of(codes[index]) == network.fragmentation_needed
            if network.errors[kind] and not is_harmless then
                return network, is_unreachable
            end
        end
    end
    return nil, false
end

--- Addresses of the segments of a frame (G3).
-- @return two lists of occurrences, or nil for those of the innermost network layer
local function addresses_of(count)
    for _, network in ipairs(NETWORKS) do
        local sources, destinations = { network.get_source() }, { network.get_destination() }
        if count > 1 and #sources == count and #destinations == count then
            return sources, destinations
        end
    end
    return nil, nil
end

--- The segment of a frame with one header.
-- @param port the occurrence of its source port
-- @return a table with stream, source_port, destination_port, flags, seq, ack, length, ordinal and port, and source and
--   destination if they matter; or nil if the header is no segment (G1)
local function read_segment(port, pinfo)
    local stream, length, flags = get_stream(), get_length(), get_flags()
    if not (stream and length and flags) then
        return nil
    end
    local source_port, destination_port, seq, ack = read_numbers(port)
    local segment = {
        stream = stream(), source_port = source_port, destination_port = destination_port, flags = flags(),
        seq = seq, ack = ack, length = length(), ordinal = 0, port = port, source = nil, destination = nil,
    }
    if tracker:needs_addresses(segment.stream) then
        segment.source, segment.destination = pinfo.src, pinfo.dst
    end
    return segment
end

--- Number in a header.
-- @param info an occurrence of a field
-- @param place how far behind its beginning the number stands
-- @param size its bytes
local function read_number(info, place, size)
    return number_in(info.source:raw(info.offset + place, size))
end

--- The segments of a frame with several headers (G1 to G3).
-- @return a list of tables as above, without port, and: is it empty because it cannot be told which header is quoted
local function read_segments(pinfo)
    local ports, streams, lengths, flags = { get_port() }, { get_stream() }, { get_length() }, { get_flags() }
    local count, most = min(#ports, #streams, #lengths, #flags), max(#ports, #streams, #lengths, #flags)
    if count == 0 or (count < most and network_error()) then
        return {}, count > 0
    end
    local sources, destinations = addresses_of(count)
    local segments, ordinals = {}, {}
    for index = 1, count do
        local stream, length, flag = streams[index](), lengths[index], flags[index]
        -- The occurrences of a damaged header are those of others: each number is read next to its own.
        segments[index] = {
            stream = stream, length = length(), flags = flag(),
            source_port = read_number(ports[index], 0, 2), destination_port = read_number(ports[index], 2, 2),
            seq = read_number(length, 4, 4), ack = read_number(flag, -4, 4),
            source = sources and sources[index].value or pinfo.src,
            destination = destinations and destinations[index].value or pinfo.dst,
            ordinal = ordinals[stream] or 0,
        }
        ordinals[stream] = segments[index].ordinal + 1
    end
    return segments, false
end

-- --------------------------------------------------------------------------------------------------- Presentation

--- Text of the tree's top item.
local function summary_text(annotation)
    local parts = { annotation.role }
    if annotation.handshake_step then
        parts[#parts + 1] = format("handshake step %d of 3", annotation.handshake_step)
    end
    if annotation.teardown_step then
        -- A simultaneous close has two steps of either end, and no order among the four.
        parts[#parts + 1] = "teardown step " .. annotation.teardown_step
            .. (annotation.is_simultaneous_close and "" or " of 4")
    end
    parts[#parts + 1] = annotation.anomaly
    return format("TCP Handshake: %s%sclient %s, server %s", concat(parts, ", "), #parts > 0 and " → " or "",
        annotation.client_state, annotation.server_state)
end

--- Text of the subtree with what is known of the connection (C17).
local function connection_text(summary)
    local parts = { summary.establishment }
    parts[2] = summary.termination == "none" and "not closed" or summary.termination
    parts[3] = summary.closed_by and "closed by " .. summary.closed_by
    return "Connection: " .. concat(parts, ", ")
end

--- Note for the Info column on a segment; empty if there is none.
local function info_note(annotation)
    local anomaly, step = annotation.anomaly or "", annotation.teardown_step
    if annotation.role == RST then
        if anomaly:find("connection-refused", 1, true) then
            return "[Refused] "
        end
        return anomaly:find("handshake-aborted", 1, true) and "[Handshake aborted] " or "[Reset] "
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

--- Puts the notes of a frame before the rest of the Info column: at its end they are cut off.
local function show_notes(notes, pinfo)
    if notes ~= "" and proto.prefs.info_notes then
        pinfo.cols.info:prepend(notes)
    end
end

--- Adds a field if it has a value.
local function add(item, name, value)
    if value ~= nil then
        item:add(fields[name], value):set_generated()
    end
end

--- Adds a field once for each part of a string joined with "+" (T6, A).
local function add_each(item, name, joined)
    if joined then
        for part in joined:gmatch("[^+]+") do
            add(item, name, tonumber(part) or part)
        end
    end
end

--- Adds what only segments with a role or an anomaly have.
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
    add(item, "teardown_time", annotation.teardown_time)
    add(item, "retransmission", annotation.retransmission)
    add_each(item, "anomaly", annotation.anomaly)
end

--- Adds the subtree of what is known of the connection (C17).
-- @param connection the tracker's record, which has the values of now
local function show_connection(item, annotation, connection)
    local summary = summary_of(connection)
    local subtree = item:add(connection_text(summary))
    subtree:set_generated()
    add(subtree, "stream", annotation.stream)
    add(subtree, "establishment", summary.establishment)
    add(subtree, "termination", summary.termination)
    add(subtree, "closed_by", summary.closed_by)
    add(subtree, "conn_state", summary.conn_state)
    add(subtree, "history", summary.history)
    add(subtree, "sack_permitted", annotation.sack_permitted)
    add(subtree, "timestamps", annotation.timestamps)
    add(subtree, "ecn", annotation.ecn)
end

--- Adds the expert information on each anomaly, and on a slow handshake.
local function show_experts(item, said)
    for anomaly in (said.anomaly or ""):gmatch("[^+]+") do
        item:add_proto_expert_info(experts[anomaly])
    end
    local time = said.handshake_time
    if time then
        local limit = proto.prefs.slow_handshake
        if limit > 0 and time:tonumber() * 1000 > limit then
            item:add_proto_expert_info(slow_handshake, format("The handshake took %.3f s.", time:tonumber()))
        end
    end
end

local own_dissector

--- Does somebody look at our items in this tree? If it is visible, too.
local function is_watched(tree)
    own_dissector = own_dissector or Dissector.get("tcp_handshake")
    return tree:referenced(own_dissector)
end

--- Adds the tree of a segment or network error.
-- @param annotation an annotation, or if nobody looks what else is said of it
-- @param connection the tracker's record
local function show(annotation, connection, tree, is_seen)
    if not is_seen then
        show_experts(tree, annotation) -- taps see expert information where nobody looks
        return
    end
    local item = tree:add(proto, summary_text(annotation))
    item:set_generated()
    if annotation.role or annotation.anomaly or annotation.explanation then
        show_event(item, annotation)
    end
    add(item, "sender", annotation.sender)
    add(item, "client_state", annotation.client_state)
    add(item, "server_state", annotation.server_state)
    if annotation.sender then
        add(item, annotation.sender .. "_mss", annotation.mss)
        add(item, annotation.sender .. "_window_scale", annotation.window_scale)
        add(item, annotation.sender .. "_fast_open", annotation.fast_open)
    end
    show_connection(item, annotation, connection)
    show_experts(item, annotation)
end

-- ------------------------------------------------------------------------------------------------------- Dissection

--- Takes one segment of a frame, or recalls it, and shows it.
-- @param segment as read_segment gives it
-- @param is_new was the frame not processed before
-- @return what is said of it, or nil
local function process(segment, number, is_new, tree)
    local stream, flags, is_seen = segment.stream, segment.flags, is_watched(tree)
    local said, connection
    if is_new then
        local offer, identity
        if segment.port then
            offer = flags % 4 >= 2 and read_offer(segment.port) or nil -- a SYN
            identity = read_identity(segment.port, flags)
        end
        local take = is_seen and tracker.segment or tracker.take
        said = take(tracker, stream, number, value_of(get_time()), segment.source, segment.source_port,
            segment.destination, segment.destination_port, flags, segment.seq, segment.ack, segment.length,
            offer, identity)
        connection = tracker.connections[stream]
    else
        local first = first_ordinals[number] and first_ordinals[number][stream] or 0
        said, connection = tracker:recall(stream, number, first + segment.ordinal, segment.source, segment.source_port,
            flags, segment.seq, segment.length)
    end
    if said then
        show(said, connection, tree, is_seen)
    end
    return said
end

--- Is the only segment of a new frame one with which nothing happens, as most segments of most captures are?
local function is_uneventful(stream, pinfo)
    local quiet = tracker.quiet[stream]
    if not quiet then
        return false
    end
    local flags, another = get_flags()
    if not flags or another or KINDS[flags() % 32] ~= PLAIN then
        return false
    elseif quiet == ALL_QUIET then
        return true
    end
    local length = get_length()
    local ends = length and (length() > 0 and quiet.with_payload or quiet.without) or 0
    if ends == 1 or ends == 2 then
        local port = get_port()
        return port ~= nil and tracker:sender(stream, tracker:needs_addresses(stream) and pinfo.src, port()) == ends
    end
    return ends == 3
end

--- A frame without segments: perhaps a network error (N1).
local function dissect_error(number, is_new, pinfo, tree)
    local network, is_unreachable = network_error()
    local annotation = tracker:recall_error(number)
    if network and is_new then
        local source, destination = last_value(network.get_source()), last_value(network.get_destination())
        local ports = { get_port() }
        if source and destination and #ports > 0 then
            annotation = tracker:network_error(number, value_of(get_time()), source, read_number(ports[#ports], 0, 2),
                destination, read_number(ports[#ports], 2, 2), last_value(get_stream()))
        end
    end
    if annotation then
        show(annotation, tracker.connections[annotation.stream], tree, is_watched(tree))
        show_notes(is_unreachable and "[SYN unreachable] " or "[SYN not delivered] ", pinfo)
    end
end

--- A frame has the number of the one before it, which a read filter dropped.
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

function proto.dissector(_, pinfo, tree)
    local stream, another_stream = get_stream()
    if not stream and not get_port() then
        return
    end
    local number = pinfo.number
    local is_new = number > last_frame
    if number == last_frame and not pinfo.visited then
        is_new = true
        take_over(number)
    end
    if is_new then
        last_frame = number
        if stream and not another_stream and is_uneventful(stream(), pinfo) and not is_watched(tree) then
            return
        end
    end
    -- Every header has a source port: with one of them there is one header, and nothing to count (G2).
    local port, another_port = get_port()
    local segments, is_unclear
    if another_port then
        segments, is_unclear = read_segments(pinfo)
    else
        segments = { read_segment(port, pinfo) }
    end
    local notes = ""
    for index = 1, #segments do
        local said = process(segments[index], number, is_new, tree)
        notes = notes .. (said and info_note(said) or "")
    end
    show_notes(notes, pinfo)
    if #segments == 0 and not is_unclear then -- N1
        dissect_error(number, is_new, pinfo, tree)
    end
end

proto.init = reset
reset()
register_postdissector(proto)

-- ------------------------------------------------------------------------------------------ Table of the connections

--- Offers the table to tshark and to Wireshark's Tools menu. A function, since Lua allows no more than 200 local
-- variables in one, and the rules above take as many.
local function register_tools()
    local HEADINGS = {
        "stream", "frame", "client", "server", "establishment", "handshake_ms", "termination", "closed_by",
        "teardown_ms", "conn_state", "history", "anomalies",
    }
    local IS_NUMBER = { stream = true, frame = true, handshake_ms = true, teardown_ms = true }
    -- A window with more rows would take long to open.
    local MOST_ROWS, SLOWEST = 10000, 10

    --- An address, or the name that Wireshark gives it, with a port; names come from the network and can hold anything.
    local function end_text(address, port)
        local text = tostring(address):gsub("%c", "?")
        return format(text:find(":", 1, true) and "[%s]:%d" or "%s:%d", text, port)
    end

    local function milliseconds(time)
        return time and format("%.3f", time:tonumber() * 1000) or ""
    end

    --- The connections of the capture so far.
    -- @param most how many at most
    -- @return a list of tables with a string for each of HEADINGS, and how many connections there are
    local function connection_rows(most)
        local streams = {}
        for stream in pairs(tracker.connections) do
            streams[#streams + 1] = stream
        end
        table.sort(streams)
        local rows = {}
        for index = 1, min(#streams, most) do
            local connection = tracker.connections[streams[index]]
            local summary = summary_of(connection)
            rows[index] = {
                stream = format("%d", connection.stream), frame = format("%d", connection.first_frame),
                client = end_text(summary.client, summary.client_port),
                server = end_text(summary.server, summary.server_port),
                establishment = summary.establishment, handshake_ms = milliseconds(summary.handshake_time),
                termination = summary.termination, closed_by = summary.closed_by or "",
                teardown_ms = milliseconds(summary.teardown_time),
                conn_state = summary.conn_state, history = summary.history or "", anomalies = summary.anomalies or "",
            }
        end
        return rows, #streams
    end

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

    local function table_text(rows)
        local lines = {}
        for index = 0, #rows do
            lines[index + 1] = ""
        end
        for _, heading in ipairs(HEADINGS) do
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

    --- The same for a window, which is narrow and breaks long lines.
    local function record_text(rows, count)
        local lines = {}
        local function say(template, ...)
            lines[#lines + 1] = format(template, ...)
        end
        for _, row in ipairs(rows) do
            say("stream %s, frame %s: %s → %s", row.stream, row.frame, row.client, row.server)
            say("    opening: %s%s", row.establishment,
                row.handshake_ms ~= "" and " in " .. row.handshake_ms .. " ms" or "")
            say("    closing: %s%s%s", row.termination, row.closed_by ~= "" and " by " .. row.closed_by or "",
                row.teardown_ms ~= "" and " in " .. row.teardown_ms .. " ms" or "")
            if row.anomalies ~= "" then
                say("    unusual: %s", (row.anomalies:gsub("%+", ", ")))
            end
        end
        if count > #rows then
            say("... and %d more: Copy as CSV has all of them.", count - #rows)
        end
        return concat(lines, "\n")
    end

    --- tshark -q -z tcp_handshake,connections
    register_stat_cmd_arg("tcp_handshake,connections", function()
        local listener = Listener.new()
        function listener.draw()
            io.stdout:write(table_text((connection_rows(math.huge))))
        end
    end)

    if gui_enabled() then
        register_menu("TCP Handshake: connections", function()
            local rows, count = connection_rows(MOST_ROWS)
            local window = TextWindow.new("TCP Handshake: connections")
            window:set_atclose(function()
                window = nil -- held until here: a window that is collected as garbage closes
            end)
            window:set(record_text(rows, count))
            window:add_button("Copy as CSV", function()
                copy_to_clipboard(csv_text((connection_rows(math.huge))))
            end)
        end, MENU_TOOLS_UNSORTED)

        register_menu("TCP Handshake: failed opens", function()
            set_filter("tcp_handshake.establishment in "
                .. '{"refused", "unanswered", "unreachable", "half-open", "aborted"}')
            apply_filter()
        end, MENU_TOOLS_UNSORTED)

        register_menu("TCP Handshake: slowest handshakes", function()
            local timed = {}
            for _, connection in pairs(tracker.connections) do
                if connection.handshake_time then
                    timed[#timed + 1] = connection
                end
            end
            table.sort(timed, function(one, other)
                return other.handshake_time < one.handshake_time
            end)
            local streams = {}
            for index = 1, min(#timed, SLOWEST) do
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
register_tools()
