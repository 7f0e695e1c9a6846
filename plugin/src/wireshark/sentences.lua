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
