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
