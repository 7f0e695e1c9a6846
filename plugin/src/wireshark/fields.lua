-- The protocol in Wireshark, with its preferences and its fields.
--
-- SPDX-License-Identifier: GPL-2.0-or-later

local proto = Proto("tcp_handshake", "TCP Handshake")

-- ------------------------------------------------------------------------------------------------------ Preferences

proto.prefs.info_notes = Pref.bool("Add notes to the Info column", true,
    "Put [Handshake 2/3], [Teardown 1/4], [Reset] and the like at the beginning of the Info column")
proto.prefs.explanations = Pref.bool("Explain the steps", true,
    "Add a line to the tree that explains the sequence and acknowledgement numbers of a step")
proto.prefs.slow_handshake = Pref.uint("Slow handshake (milliseconds)", 1000,
    "Add expert information to handshakes that take longer than this; 0 turns it off")

-- ----------------------------------------------------------------------------------------------------------- Fields

--- Returns a new field. Its constructors take different arguments between title and blurb.
-- @param name without "tcp_handshake."
-- @param kind name of the constructor
-- @param title, blurb what users read
local function new_field(name, kind, title, blurb)
    local constructor, abbreviation = ProtoField[kind], "tcp_handshake." .. name
    if kind == "string" then
        return constructor(abbreviation, title, nil, blurb)
    elseif kind == "relative_time" then
        return constructor(abbreviation, title, blurb)
    elseif kind == "framenum" then
        local direction = name == "responds_to" and frametype.REQUEST
            or name == "answered_in" and frametype.RESPONSE or frametype.NONE
        return constructor(abbreviation, title, base.NONE, direction, nil, blurb)
    end
    return constructor(abbreviation, title, kind == "bool" and base.NONE or base.DEC, nil, nil, blurb)
end

-- C17: the end of the blurb of a field whose value can still change.
local SO_FAR = "; in the first pass (one-pass tshark, live capture) for the capture so far, in the second pass "
    .. "(Wireshark, tshark -2) for the whole capture"
-- Name, kind, title and blurb of each field, in the order of the tree.
local FIELDS = {
    { "role", "string", "Role",
        "Role in opening or closing: SYN, SYN-ACK, HANDSHAKE-ACK, ACK-OF-FIN, FIN or RST" },
    { "handshake_step", "uint8", "Handshake step", "Step of the three-way handshake, 1 to 3" },
    { "teardown_step", "uint8", "Teardown step",
        "Step of the teardown, 1 to 4; in a simultaneous close 1 and 2 of each end" },
    { "explanation", "string", "Explanation", "Explains the sequence and acknowledgement numbers of the step" },
    { "responds_to", "framenum", "Responds to", "Frame of the SYN, SYN-ACK or FIN that this one answers" },
    { "answered_in", "framenum", "Answered in",
        "Frame that answers this SYN, SYN-ACK or FIN; known in the second pass (Wireshark, tshark -2)" },
    { "response_time", "relative_time", "Response time", "Time since the frame that this one answers" },
    { "handshake_time", "relative_time", "Handshake time",
        "Time from the first transmission of the SYN to the third step" },
    { "retransmission_delay", "relative_time", "Retransmission delay",
        "Part of the handshake time that went by in waiting for a repeated SYN or SYN-ACK" },
    { "teardown_time", "relative_time", "Teardown time",
        "Time from the first FIN to the acknowledgement of the last" },
    { "retransmission", "bool", "Retransmission", "The SYN, SYN-ACK or FIN was sent before" },
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
        "How the latest attempt was opened: complete, partial, simultaneous, half-open, refused, invalid-answer ..."
        .. SO_FAR },
    { "termination", "string", "Termination",
        "How the latest attempt was closed: four-way, three-way, simultaneous, reset, half-closed ..." .. SO_FAR },
    { "closed_by", "string", "Closed by",
        "Who closed the latest attempt first: client, server or both" .. SO_FAR },
    { "reset_by", "string", "Reset by",
        "Whose reset ended the latest attempt: client or server" .. SO_FAR },
    { "conn_state", "string", "Connection state (Zeek)",
        "State of the latest attempt in the words of Zeek's conn.log: SF, S0, S1, REJ, RSTO, OTH ..." .. SO_FAR },
    { "history", "string", "History (Zeek)",
        "What both ends did, in the letters of Zeek's conn.log, such as ShADadFf: upper case for the client, "
        .. "lower case for the server" .. SO_FAR },
    { "diagnosis", "string", "Diagnosis",
        "Why the latest attempt went as it did: server-silent, filtered, syn-lost, injected-reset, idle-timeout, "
        .. "slow-server, orderly ..." .. SO_FAR },
    { "suspect", "string", "Suspect",
        "Where to look for the cause: client, server, path, path-to-client, path-to-server or capture; none if the "
        .. "capture does not decide" .. SO_FAR },
    { "evidence", "string", "Evidence",
        "The frame that shows the diagnosis, or two joined with +" .. SO_FAR },
    { "evidence_frame", "framenum", "Evidence in", "A frame that shows the diagnosis" .. SO_FAR },
    { "diagnosis_text", "string", "Diagnosis in words", "The diagnosis as a sentence" .. SO_FAR },
    { "sack_permitted", "bool", "SACK permitted", "SYN and SYN-ACK both offer selective acknowledgements" },
    { "timestamps", "bool", "Timestamps", "SYN and SYN-ACK both offer timestamps" },
    { "ecn", "string", "ECN",
        "Explicit Congestion Notification that SYN and SYN-ACK have settled: none, rfc3168 or accecn" },
}

local fields, field_list = {}, {}
for index = 1, #FIELDS do
    local name, kind, title, blurb = FIELDS[index][1], FIELDS[index][2], FIELDS[index][3], FIELDS[index][4]
    fields[name] = new_field(name, kind, title, blurb)
    field_list[index] = fields[name]
end
proto.fields = field_list

return { proto = proto, fields = fields }
