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
