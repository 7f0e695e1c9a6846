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
