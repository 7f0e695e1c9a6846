-- The expert information: one item for each anomaly, one for each diagnosis that is worth one, and one for a slow
-- handshake.
--
-- SPDX-License-Identifier: GPL-2.0-or-later

local ANOMALIES = require("vocabulary").ANOMALIES
local proto = require("wireshark.fields").proto
local DIAGNOSES = require("wireshark.sentences").DIAGNOSES

local CHAT, NOTE, WARN = expert.severity.CHAT, expert.severity.NOTE, expert.severity.WARN
local SEQUENCE, PROTOCOL = expert.group.SEQUENCE, expert.group.PROTOCOL
local RESPONSE = expert.group.RESPONSE_CODE

-- Group, severity and sentence of each anomaly.
local SENTENCES = {
    ["syn-retransmission"] = { SEQUENCE, NOTE, "The SYN was sent before: it or its answer was lost or late." },
    ["syn-ack-retransmission"] = { SEQUENCE, NOTE, "The SYN-ACK was sent before: it or its answer was lost or late." },
    ["fin-retransmission"] = { SEQUENCE, NOTE, "The FIN was sent before: it or its answer was lost or late." },
    ["connection-refused"] = { RESPONSE, WARN,
        "The SYN was refused by a reset: usually nothing listens on that port, or a firewall rejects." },
    ["unreachable"] = { RESPONSE, WARN, "The network reports that the SYN could not be delivered." },
    ["handshake-aborted"] = { SEQUENCE, WARN, "The reset ends the handshake before the connection was opened." },
    ["simultaneous-open"] = { SEQUENCE, CHAT, "Both ends sent a SYN before the other's arrived." },
    ["simultaneous-close"] = { SEQUENCE, CHAT, "Both ends sent a FIN before the other's arrived." },
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
    ["rst-ignored"] = { SEQUENCE, WARN, "The receiver of this reset must not accept it, and lives on." },
    ["challenge-ack"] = { SEQUENCE, NOTE,
        "The sender got a segment that it must not accept, and says what it expects." },
    ["seq-mismatch"] = { SEQUENCE, WARN, "The sequence number lies where no window of this connection can be." },
    ["ack-beyond-sent"] = { SEQUENCE, NOTE, "The FIN acknowledges what its receiver was not seen to send." },
    ["old-connection"] = { SEQUENCE, NOTE,
        "The segment has the numbers of an older connection between these ends." },
}

local by_anomaly, expert_list = {}, {}
for index = 1, #ANOMALIES do
    local name = ANOMALIES[index]
    local group, severity, sentence = SENTENCES[name][1], SENTENCES[name][2], SENTENCES[name][3]
    by_anomaly[name] = ProtoExpert.new("tcp_handshake.expert." .. name:gsub("-", "_"), sentence, group, severity)
    expert_list[index] = by_anomaly[name]
end
local by_diagnosis = {}
for index = 1, #DIAGNOSES do
    local name, severity = DIAGNOSES[index][1], DIAGNOSES[index][2]
    if severity then
        by_diagnosis[name] = ProtoExpert.new("tcp_handshake.expert.diagnosis_" .. name:gsub("-", "_"),
            "Diagnosis: " .. name, SEQUENCE, severity)
        expert_list[#expert_list + 1] = by_diagnosis[name]
    end
end
local slow_handshake = ProtoExpert.new("tcp_handshake.expert.slow_handshake",
    "The handshake took longer than the preference allows.", SEQUENCE, NOTE)
expert_list[#expert_list + 1] = slow_handshake
proto.experts = expert_list

return { by_anomaly = by_anomaly, by_diagnosis = by_diagnosis, slow_handshake = slow_handshake }
