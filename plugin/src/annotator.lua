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
