-- The words of the annotations, and the numbers that the rules compare with. Every part takes them from here.
--
-- SPDX-License-Identifier: GPL-2.0-or-later

-- Sequence and acknowledgement numbers are taken modulo 2^32. A distance below half of that means "at or after".
local MODULUS = 4294967296
local HALF = 2147483648
-- X2: how much can follow a SYN-ACK before its first acknowledgement: an unscaled window and a FIN.
local FIRST_WINDOW = 65536
-- F5, F6, R5: no window is larger.
local LARGEST_WINDOW = 1073741824
-- X7: how far the numbers of an old connection can lie from those that it had when the new one began.
local NEAR = 1048576
-- G8, R6: the copy of a segment, and what was in flight when an RST was captured, come within so many nanoseconds.
local MOMENT = 100000000
-- R6: who sends something new more than so many nanoseconds after an RST did not get it.
local OUTLIVED = 1000000000
-- D: a long time, in nanoseconds, and in seconds that a float counts: 10 s, less what a float can miss.
local LONG, LONG_SECONDS = 10000000000, 9.9999995
local MOMENT_SECONDS = 0.1000005
-- H10, D6, D8: what lies further back was not on its way at the same time; a handshake is slow. In nanoseconds.
local NOTICEABLE, SLOW = 200000000, 1000000000
-- D5: octets that the closing alert of TLS mostly has at most, which nobody needs to read, and up to which a last
-- message can be such a one.
local FAREWELL, LAST_WORDS = 53, 128
-- D1: by how much the hop limit that an application sets (RFC 5082) exceeds that of its host's own segments.
local OF_APPLICATION = 255 - 64
-- D1: below this hop limit an application has set it, as BGP does to 1.
local NEAREST = 10
-- H10: of so many transmissions of a SYN the time and timestamp are remembered.
local SYNS = 8
-- G8: an identity from here on is a timestamp, a lower one the identification of an IP header.
local TIMESTAMP = 65536
-- G8: how many segments of an end are compared.
local RECENT = 4
-- G2: an ordinal below this tells apart several segments of one connection in one frame.
local ORDINALS = 65536

-- X1: the states of RFC 9293, section 3.3.2, that an end can be in.
local CLOSED, LISTEN = "CLOSED", "LISTEN"
local SYN_SENT, SYN_RECEIVED, ESTABLISHED = "SYN-SENT", "SYN-RECEIVED", "ESTABLISHED"
local FIN_WAIT_1, FIN_WAIT_2, CLOSE_WAIT = "FIN-WAIT-1", "FIN-WAIT-2", "CLOSE-WAIT"
local CLOSING, LAST_ACK, TIME_WAIT = "CLOSING", "LAST-ACK", "TIME-WAIT"

-- X4: a connection is over when both ends are in one of these states.
local IS_OVER = { [CLOSED] = true, [LISTEN] = true, [TIME_WAIT] = true }
-- X3: an attempt is opened when both ends are in one of these states.
local IS_OPENED = {
    [ESTABLISHED] = true, [FIN_WAIT_1] = true, [FIN_WAIT_2] = true, [CLOSE_WAIT] = true,
    [CLOSING] = true, [LAST_ACK] = true, [TIME_WAIT] = true,
}

-- G7: the kinds of segments. A kind that is a role too has the role's name.
local INVALID, PLAIN = "invalid", "plain"
local SYN, SYN_ACK, FIN, RST = "SYN", "SYN-ACK", "FIN", "RST"
-- The roles that are no kinds.
local HANDSHAKE_ACK, ACK_OF_FIN = "HANDSHAKE-ACK", "ACK-OF-FIN"

-- G7: the kind of a segment by the lowest five of its flags: ACK 16, PSH 8, RST 4, SYN 2, FIN 1.
local KINDS = {}
for flags = 0, 31 do
    local fin, syn, ack = flags % 2 >= 1, flags % 4 >= 2, flags >= 16
    if flags % 8 >= 4 then
        KINDS[flags] = RST
    elseif (syn and fin and not ack) or not (syn or ack) then
        KINDS[flags] = INVALID
    elseif syn then
        KINDS[flags] = ack and SYN_ACK or SYN
    else
        KINDS[flags] = fin and FIN or PLAIN
    end
end

-- The anomalies, in the order of the table in chapter A of the specification.
local ANOMALIES = {
    "syn-retransmission", "syn-ack-retransmission", "fin-retransmission", "connection-refused", "unreachable",
    "handshake-aborted", "simultaneous-open", "simultaneous-close", "syn-with-data", "half-close-data",
    "data-after-fin", "rst-after-fin", "segment-after-close", "port-reuse", "ack-mismatch", "invalid-flags",
    "syn-on-established", "duplicate", "rst-ignored", "challenge-ack", "seq-mismatch", "ack-beyond-sent",
    "old-connection",
}
-- A3: a segment with one of these anomalies is a retransmission.
local IS_RETRANSMISSION = {
    ["syn-retransmission"] = true, ["syn-ack-retransmission"] = true, ["fin-retransmission"] = true,
}

-- Places in an entry, the list that the tracker keeps of a segment. SENDER is the index of the end that sent it.
local ORDINAL, FRAME, TIME, SENDER, FLAGS, SEQ, ACK, LENGTH, OFFER, IDENTITY = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
local HOP_LIMIT = 11

return {
    MODULUS = MODULUS, HALF = HALF, FIRST_WINDOW = FIRST_WINDOW, LARGEST_WINDOW = LARGEST_WINDOW, NEAR = NEAR,
    MOMENT = MOMENT, OUTLIVED = OUTLIVED, LONG = LONG, LONG_SECONDS = LONG_SECONDS,
    MOMENT_SECONDS = MOMENT_SECONDS, NOTICEABLE = NOTICEABLE, SLOW = SLOW, SYNS = SYNS,
    FAREWELL = FAREWELL, LAST_WORDS = LAST_WORDS, OF_APPLICATION = OF_APPLICATION, NEAREST = NEAREST,
    TIMESTAMP = TIMESTAMP,
    RECENT = RECENT, ORDINALS = ORDINALS,
    CLOSED = CLOSED, LISTEN = LISTEN, SYN_SENT = SYN_SENT, SYN_RECEIVED = SYN_RECEIVED, ESTABLISHED = ESTABLISHED,
    FIN_WAIT_1 = FIN_WAIT_1, FIN_WAIT_2 = FIN_WAIT_2, CLOSE_WAIT = CLOSE_WAIT, CLOSING = CLOSING,
    LAST_ACK = LAST_ACK, TIME_WAIT = TIME_WAIT, IS_OVER = IS_OVER, IS_OPENED = IS_OPENED,
    INVALID = INVALID, PLAIN = PLAIN, SYN = SYN, SYN_ACK = SYN_ACK, FIN = FIN, RST = RST,
    HANDSHAKE_ACK = HANDSHAKE_ACK, ACK_OF_FIN = ACK_OF_FIN, KINDS = KINDS,
    ANOMALIES = ANOMALIES, IS_RETRANSMISSION = IS_RETRANSMISSION,
    ORDINAL = ORDINAL, FRAME = FRAME, TIME = TIME, SENDER = SENDER, FLAGS = FLAGS, SEQ = SEQ, ACK = ACK,
    LENGTH = LENGTH, OFFER = OFFER, IDENTITY = IDENTITY, HOP_LIMIT = HOP_LIMIT,
}
