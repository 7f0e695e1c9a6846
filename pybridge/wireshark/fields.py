# SPDX-License-Identifier: GPL-2.0-or-later
"""The fields that tshark prints of each packet, and its times as numbers; without pyarrow, which loads while tshark starts."""

from __future__ import annotations

HEADER = ("tcp.srcport", "tcp.dstport", "tcp.stream", "tcp.len", "tcp.flags", "tcp.seq_raw", "tcp.ack_raw")
"""Fields of a TCP header; a header without one of them is no segment (rule G1)."""

ADDRESSES = ("ip.src", "ip.dst", "ipv6.src", "ipv6.dst")
OPTIONS = (
    "tcp.option_kind", "tcp.options.mss_val", "tcp.options.wscale.shift", "tcp.options.tfo.request", "tcp.options.tfo.cookie",
    "tcp.options.timestamp.tsval", "tcp.options.timestamp.tsecr",
)  # fmt: skip
IDENTITY = ("ip.id", "tcp.options.timestamp.tsval")
"""Fields that tell a copy of a segment from a retransmission (rule G8)."""

HOP_LIMIT = ("ip.ttl", "ipv6.hlim")
"""Of IPv4 and IPv6 (rule D1)."""

ICMP = ("icmp.type", "icmp.code", "icmpv6.type", "icmpv6.code")
FIELDS = (
    *("frame.number", "frame.time_epoch", "%us", HEADER[0], "%ud", *HEADER[1:]),
    *(*OPTIONS, IDENTITY[0], *HOP_LIMIT, *ICMP, *ADDRESSES),
)
"""Fields to read of each packet. `%us` and `%ud` must not be neighbours: tshark would print an arrow between them."""


def nanoseconds(text: str) -> int:
    """Return `frame.time_epoch` as nanoseconds, exactly; 0 for a packet without a time."""
    if not text:
        return 0
    whole, _, fraction = text.partition(".")
    value = int(whole) * 1_000_000_000
    part = int(fraction.ljust(9, "0")[:9]) if fraction else 0
    return value - part if whole.startswith("-") else value + part
