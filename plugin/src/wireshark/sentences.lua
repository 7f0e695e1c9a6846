-- The diagnosis in words: one sentence for each, which says what happened and what to do.
--
-- SPDX-License-Identifier: GPL-2.0-or-later

local end_name = require("state").end_name

-- $A stands for the sender of the RST, $S for the suspect, $T for the handshake time.
local SENTENCES = {
    ["server-silent"] = "The server never answered the SYN: find out whether the SYN reaches it, and whether a "
        .. "firewall drops it silently.",
    ["filtered"] = "A filter refused the connection: look for a firewall rule on this port.",
    ["host-unreachable"] = "The network reports that it cannot deliver the SYN: check the route, and whether the "
        .. "server is up.",
    ["port-closed"] = "The server refused the connection: nothing listens on this port; start the service, or "
        .. "correct the port.",
    ["old-connection-held"] = "The server still held an older connection between these addresses and ports, and "
        .. "answered from that: look why the older one was not closed.",
    ["invalid-answer"] = "The SYN got only answers that the client must not accept: look what answers in the "
        .. "server's place.",
    ["one-sided"] = "The capture holds one direction only: capture where both directions pass.",
    ["injected-reset"] = "A reset came that the $A did not send: look for a firewall or a filter between the ends.",
    ["peer-vanished"] = "An end repeated its segments and got no answer: find out whether the other end, or the "
        .. "path to it, failed.",
    ["close-not-finished"] = "One end closed and the other never did: look at the application of the $S, which "
        .. "keeps the connection open.",
    ["reset-with-unread-data"] = "The $A closed before it had read all data, so that its system reset the "
        .. "connection: look why its application stopped reading.",
    ["idle-timeout"] = "After a long silence the $A no longer knew the connection: keep it alive, or raise the "
        .. "idle time-out of the $A or of the devices between.",
    ["probe"] = "The client opened the connection and reset it without sending data: a port scan or a health check.",
    ["no-such-connection"] = "The $A answered that it has no such connection: it restarted or forgot it; look at "
        .. "its logs, and at devices between that change addresses.",
    ["application-abort"] = "The application of the $A aborted the connection: look at its log at this time.",
    ["reset-after-close"] = "A reset came after both ends had closed: harmless.",
    ["syn-lost"] = "The SYN had to be sent again: it was lost, or the server dropped it.",
    ["syn-ack-lost"] = "The server answered the SYN, but the client sent it again: the answer was lost on its way "
        .. "to the client.",
    ["third-step-lost"] = "The server answered again: its answer was lost on its way to the client.",
    ["third-step-ignored"] = "The server answered again although the third step had come: its accept queue may be "
        .. "full; look at the load of its application.",
    ["slow-server"] = "The handshake took $T, most of it until the server's answer: look at the server and the "
        .. "path to it.",
    ["slow-client"] = "The handshake took $T, most of it until the client's third step: look at the client and the "
        .. "path to it.",
    ["slow-path"] = "The handshake took $T, on both sides of the point of capture: look at the distance between "
        .. "the ends.",
    ["orderly"] = "Both ends closed the connection: nothing to do.",
    ["still-open"] = "The connection was open, or opening, at the end of the capture: nothing shows a fault.",
}

--- Returns the diagnosis of a connection in words.
-- @param verdict a table with diagnosis and suspect
local function sentence_of(connection, verdict)
    local attempt, time = connection.attempt, connection.handshake_time
    local words = { S = verdict.suspect or "other end" }
    if verdict.diagnosis == "injected-reset" and connection.trace.injected_end then
        words.A = end_name(connection, connection.trace.injected_end)
    else
        words.A = attempt.reset_by and end_name(connection, attempt.reset_by) or "peer"
    end
    if time then
        words.T = string.format("%.1f s", time:tonumber())
    end
    return (SENTENCES[verdict.diagnosis]:gsub("%$(%u)", words))
end

return { sentence_of = sentence_of }
