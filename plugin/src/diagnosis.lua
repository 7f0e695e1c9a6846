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
