# SPDX-License-Identifier: GPL-2.0-or-later
"""Make segments and network errors from tshark's columns (rules G1 to G3, N1)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache, partial
from itertools import zip_longest
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pybridge.tcp.model import NetworkError, Offer, Segment
from pybridge.tcp.vocabulary import ACK, RST, SYN
from pybridge.wireshark.fields import ADDRESSES, FIELDS, HEADER, HOP_LIMIT, ICMP, IDENTITY, OPTIONS, nanoseconds

TIMESTAMP = 1 << 16
"""Added to timestamps, so that no timestamp equals an IPv4 identification."""

LONGEST_COOKIE = 16  # bytes
SACK_PERMITTED, TIMESTAMPS = "4", "8"  # option kinds
FRAGMENTATION_NEEDED = "4"


def events(batch: pa.RecordBatch) -> Iterator[Segment | NetworkError]:
    """Yield the segments and network errors of a block of packets with the columns `FIELDS`, in order."""
    start = 0
    for row in _unusual(batch):
        yield from _usual(batch.slice(start, row - start))
        yield from _expand({name: batch.column(name)[row].as_py() for name in FIELDS})
        start = row + 1
    yield from _usual(batch.slice(start))


def _unusual(batch: pa.RecordBatch) -> list[int]:
    """Return the rows with several headers or an ICMP error. Several source ports show several headers, complete or not."""
    several = pc.match_substring(batch.column("tcp.srcport"), ",")
    error = pc.or_(pc.is_valid(batch.column("icmp.type")), pc.is_valid(batch.column("icmpv6.type")))
    found: list[int] = pc.indices_nonzero(pc.or_(pc.fill_null(several, False), error)).to_pylist()
    return found


def _usual(batch: pa.RecordBatch) -> Iterator[Segment]:
    """Yield the segments of rows with at most one header."""
    whole = pc.is_valid(batch.column(HEADER[0]))
    for name in HEADER[1:]:
        whole = pc.and_(whole, pc.is_valid(batch.column(name)))
    batch = batch.filter(whole)
    flags = _flags(batch.column("tcp.flags"))
    sources = _addresses(batch, "%us")
    yield from map(
        partial(tuple.__new__, Segment),  # the same as `Segment._make`, without a call in Python
        zip(
            _integers(batch, "frame.number"),
            times(batch),
            _integers(batch, "tcp.stream"),
            sources,
            _integers(batch, "tcp.srcport"),
            _addresses(batch, "%ud"),
            _integers(batch, "tcp.dstport"),
            flags,
            _integers(batch, "tcp.seq_raw"),
            _integers(batch, "tcp.ack_raw"),
            _integers(batch, "tcp.len"),
            _offers(batch, flags),
            _identities(batch, flags),
            _hop_limits(batch, sources),
            strict=True,
        ),
    )


def _flags(texts: pa.Array) -> list[int]:
    encoded = texts.dictionary_encode()
    values = [int(text, 16) for text in encoded.dictionary.to_pylist()]
    return [values[index] for index in _list(encoded.indices)]


def _integers(batch: pa.RecordBatch, name: str) -> list[int]:
    return _list(pc.cast(batch.column(name), pa.int64()))


def _list(column: pa.Array) -> list[Any]:
    """Return the same as `to_pylist`, at a fifth of its cost; only for columns of text, or without nulls."""
    values: list[Any] = column.to_numpy(zero_copy_only=False).tolist()
    return values


def times(batch: pa.RecordBatch) -> list[int]:
    """Return the time of each packet of a block, in nanoseconds since the epoch; 0 for a packet without a time."""
    texts = pc.fill_null(batch.column("frame.time_epoch"), "")
    if pc.all(pc.match_substring_regex(texts, r"^(\d{1,9}|[1-8]\d{9})\.\d{9}$")).as_py():
        return _list(pc.cast(pc.replace_substring(texts, ".", "", max_replacements=1), pa.int64()))
    return [nanoseconds(text) for text in texts.to_pylist()]


def _addresses(batch: pa.RecordBatch, name: str) -> list[str]:
    """Return addresses without the padding of tshark; equal addresses are one object, which saves memory."""
    encoded = pc.fill_null(batch.column(name), "").dictionary_encode()
    names = [text.strip() for text in encoded.dictionary.to_pylist()]
    return [names[index] for index in _list(encoded.indices)]


def _offers(batch: pa.RecordBatch, flags: list[int]) -> list[Offer | None]:
    offers: list[Offer | None] = [None] * len(flags)
    rows = [row for row, value in enumerate(flags) if value & SYN]
    taken = batch.select(OPTIONS).take(pa.array(rows, pa.int64()))
    for row, texts in zip(rows, zip(*(_list(column) for column in taken.columns), strict=True), strict=True):
        offers[row] = _offer(*texts)
    return offers


def _identities(batch: pa.RecordBatch, flags: list[int]) -> list[int | None]:
    identifications, timestamps = (_list(batch.column(name)) for name in IDENTITY)
    return list(map(_identity, identifications, flags, timestamps))


def _identity(identification: str | None, flags: int, timestamp: str | None) -> int | None:
    """Return a number that only copies of the same segment share, or None (rule G8)."""
    value = _identification(identification) if identification else 0
    if value:
        return value
    if timestamp:
        return TIMESTAMP + int(timestamp.partition(",")[0])
    return 0 if flags & RST or flags & (SYN | ACK) == SYN | ACK else None


def _hop_limits(batch: pa.RecordBatch, sources: list[str]) -> list[int | None]:
    return list(map(_hop_limit, sources, *(_list(batch.column(name)) for name in HOP_LIMIT)))


def _hop_limit(source: str, ttl: str | None, hlim: str | None) -> int | None:
    """Return the hop limit of the innermost header of the version of the source's address (rule D1)."""
    texts = hlim if ":" in source else ttl
    return int(texts.rpartition(",")[2]) if texts else None


@lru_cache(maxsize=1 << 16)
def _identification(texts: str) -> int:
    return int(texts.rpartition(",")[2], 16)


def _offer(
    kinds: str | None,
    mss: str | None,
    window_scale: str | None,
    request: str | None,
    cookie: str | None,
    tsval: str | None,
    tsecr: str | None,
) -> Offer:
    """Return the options of a SYN or SYN-ACK (rules C12, C13 and H10)."""
    present = (kinds or "").split(",")
    return Offer(
        mss=int(mss.partition(",")[0]) if mss else None,
        window_scale=int(window_scale.partition(",")[0]) if window_scale else None,
        sack_permitted=SACK_PERMITTED in present,
        timestamps=TIMESTAMPS in present,
        fast_open=_fast_open(request, cookie),
        tsval=int(tsval.partition(",")[0]) if tsval else None,
        tsecr=int(tsecr.partition(",")[0]) if tsecr else None,
    )


def _fast_open(request: str | None, cookie: str | None) -> str | None:
    """Return the cookie of TCP Fast Open as text, `request`, or None; RFC 7413 allows no longer cookie (rule C12)."""
    if cookie:
        first = cookie.partition(",")[0].replace(":", "")  # Wireshark 4.4 puts colons between the bytes
        return first if len(first) <= 2 * LONGEST_COOKIE else None
    return "request" if request else None


def _expand(row: dict[str, str | None]) -> Iterator[Segment | NetworkError]:
    """Yield the events of a packet with several headers, or with an ICMP error (rules G2, G3, N1)."""
    values = {name: text.split(",") if (text := row[name]) else [] for name in (*HEADER, *ICMP, *ADDRESSES)}
    counts = [len(values[name]) for name in HEADER]
    count = min(counts)
    frame, time = int(row["frame.number"] or 0), nanoseconds(row["frame.time_epoch"] or "")
    message = _error_message(values)
    version = message and ("ip" if message[0] == 4 else "ipv6")
    if not count:
        if message and version and values["tcp.srcport"] and values["tcp.dstport"]:
            source, destination = values[f"{version}.src"], values[f"{version}.dst"]
            if source and destination:
                streams = values["tcp.stream"]
                yield NetworkError(
                    frame, time, int(streams[-1]) if streams else None,
                    source[-1], int(values["tcp.srcport"][-1]), destination[-1], int(values["tcp.dstport"][-1]),
                    message, source[0],
                )  # fmt: skip
        return
    if version and len(set(counts)) > 1:
        return
    single = len(values["tcp.srcport"]) == 1  # else the options are of an unknown header (rules C12, G8)
    sources, destinations = [(row["%us"] or "").strip()] * count, [(row["%ud"] or "").strip()] * count
    for family in ("ipv6", "ip") if count > 1 else ():
        if len(values[f"{family}.src"]) == len(values[f"{family}.dst"]) == count:
            sources, destinations = values[f"{family}.src"], values[f"{family}.dst"]
    for index in range(count):
        source_port, destination_port, stream, length, flags, seq, ack = (values[name][index] for name in HEADER)
        offer = _offer(*(row[name] for name in OPTIONS)) if single and int(flags, 16) & SYN else None
        identity = _identity(row[IDENTITY[0]], int(flags, 16), row[IDENTITY[1]]) if single else None
        hop_limit = _hop_limit(sources[index], row["ip.ttl"], row["ipv6.hlim"]) if single else None
        yield Segment(
            frame, time, int(stream), sources[index], int(source_port), destinations[index], int(destination_port),
            int(flags, 16), int(seq), int(ack), int(length), offer, identity, hop_limit,
        )  # fmt: skip


def _error_message(values: dict[str, list[str]]) -> tuple[int, int, int] | None:
    """Return version of IP, type and code if the packet is an error of that version's ICMP, else None (rules N1, D7)."""
    for kind, code in zip(values["icmp.type"], values["icmp.code"] or ["0"], strict=False):
        if kind in ("11", "12") or (kind == "3" and code != FRAGMENTATION_NEEDED):
            return 4, int(kind), int(code)
    for kind, code in zip_longest(values["icmpv6.type"], values["icmpv6.code"], fillvalue="0"):
        if kind in ("1", "3", "4"):
            return 6, int(kind), int(code)
    return None
