# SPDX-License-Identifier: GPL-2.0-or-later
"""Read the names of servers that a capture holds: in TLS (SNI), in HTTP (Host) and in answers of DNS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pybridge.wireshark.capture_source import CaptureSource
from pybridge.wireshark.columns import read_packets_with

SNI, HOST, QUERY, ADDRESSES = "tls.handshake.extensions_server_name", "http.host", "dns.qry.name", ("dns.a", "dns.aaaa")
FIELDS = ("tcp.stream", SNI, HOST, QUERY, *ADDRESSES)


def read_names(source: CaptureSource) -> tuple[Mapping[int, str], Mapping[str, str]]:
    """Return the first name that each connection gives, by stream, and the first that DNS gives for an address.

    tshark dissects each packet in full, as Wireshark does, and puts streams together, since a name can be in any segment.

    Raises
    ------
    CaptureError, TSharkError
    """
    by_stream: dict[int, str] = {}
    by_address: dict[str, str] = {}
    wanted = " or ".join((SNI, HOST, *ADDRESSES))
    for batch in read_packets_with(source, wanted, FIELDS):
        for stream, server_name, host, query, *addresses in zip(*batch.to_pydict().values(), strict=True):
            if name := server_name or host:
                if stream:
                    by_stream.setdefault(int(stream), _first(name))
            elif query:
                for address in _all(addresses):
                    by_address.setdefault(address, _first(query))
    return by_stream, by_address


def _first(values: str) -> str:
    """Return the first of the values that tshark joined with commas."""
    return values.split(",", maxsplit=1)[0]


def _all(columns: list[str | None]) -> Iterator[str]:
    return (value for values in columns if values for value in values.split(","))
