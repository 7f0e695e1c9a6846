# SPDX-License-Identifier: GPL-2.0-or-later
"""Make the layers around the TCP headers of the goldens: IP, tunnels and links."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import GRE, CookedLinux, CookedLinuxV2, Dot1AD, Dot1Q, Ether
from scapy.layers.ppp import PPP, PPPoE
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Raw

from tools.goldens.listing import Interface, Tunnel

LINK_TYPES = {
    "ethernet": 1,
    "vlan": 1,
    "pppoe": 1,
    "linux-cooked": 113,
    "linux-cooked-2": 276,
    "null": 0,
    "raw": 101,
    "802.11-amsdu": 105,
}
ETHERNET_TYPES = {4: 0x0800, 6: 0x86DD}
PPP_PROTOCOLS = {4: 0x0021, 6: 0x0057}
ADDRESS_FAMILIES = {4: 2, 6: 30}  # AF_INET, and AF_INET6 of macOS
TO_US, FROM_US = 0, 4  # packet types of Linux cooked frames
ETHERNET_HARDWARE = 1  # ARPHRD_ETHER
VXLAN_PORT, VXLAN_NETWORK = 4789, 42


def version(packet: bytes) -> int:
    """Return the version of IP: 4 or 6."""
    return packet[0] >> 4


def ip_packet(source: str, destination: str, payload: Packet | bytes, **fields: Any) -> Packet:
    """Make an IPv4 packet (with DF) or an IPv6 packet; fields of the other version are left out."""
    if ":" in source:
        protocol: dict[str, Any] = {"nh": fields["proto"]} if "proto" in fields else {}
        return IPv6(src=source, dst=destination, hlim=fields.get("ttl", 64), **protocol) / payload
    usual: dict[str, Any] = {"id": 0, "flags": "DF"}
    return IP(src=source, dst=destination, **(usual | fields)) / payload


def tunnelled(tunnel: Tunnel, packet: bytes, *, outgoing: bool) -> bytes:
    """Put a packet into a tunnel, from its near to its far end or back."""
    ends = (tunnel.near, tunnel.far) if outgoing else (tunnel.far, tunnel.near)
    match tunnel.kind:
        case "gre":
            outer = ip_packet(*ends, GRE(proto=ETHERNET_TYPES[version(packet)]) / Raw(packet), proto=47)
        case "vxlan":
            inner = VXLAN(vni=VXLAN_NETWORK) / Raw(ethernet(packet))
            outer = ip_packet(*ends, UDP(sport=50000, dport=VXLAN_PORT, chksum=0) / inner)
        case "ip":
            outer = ip_packet(*ends, Raw(packet), proto=4 if version(packet) == 4 else 41)
        case _:
            raise ValueError(f"There is no tunnel {tunnel.kind}.")
    return bytes(outer)


def mac(packet: bytes, *, source: bool) -> bytes:
    """Make a locally administered address that ends as the packet's IP address does."""
    place = (12 if source else 16) if version(packet) == 4 else (20 if source else 36)
    return b"\x02\x00" + packet[place : place + 4]


def ethernet(packet: bytes, inside: Packet | None = None) -> bytes:
    """Put a packet into an Ethernet frame, after tags or PPPoE if given; these name the type of their content themselves."""
    frame = Ether(dst=mac(packet, source=False).hex(":"), src=mac(packet, source=True).hex(":"))
    if inside is None:
        frame.type = ETHERNET_TYPES[version(packet)]
        return bytes(frame / Raw(packet))
    return bytes(frame / inside / Raw(packet))


def amsdu(packets: Sequence[bytes]) -> bytes:
    """Make an 802.11 QoS data frame to the access point with one A-MSDU subframe for each packet."""
    station, access_point = b"\x02\x00\x00\x00\x00\x01", b"\x02\x00\x00\x00\x00\xfe"
    frame = b"\x88\x01\x00\x00" + access_point + station + access_point + b"\x00\x00" + b"\x80\x00"
    for packet in packets:
        frame += b"\x00" * (-(len(frame) - 26) % 4)
        body = b"\xaa\xaa\x03\x00\x00\x00\x08\x00" + packet
        frame += mac(packet, source=False) + station + struct.pack("!H", len(body)) + body
    return frame


def linked(interface: Interface, packets: Sequence[bytes], *, outgoing: bool, order: str) -> bytes:
    """Make the frame in which an interface captures a packet, or (A-MSDU) several packets."""
    packet = packets[0]
    kind = ETHERNET_TYPES[version(packet)]
    cooked: dict[str, Any] = {
        "pkttype": FROM_US if outgoing else TO_US,
        "lladdrtype": ETHERNET_HARDWARE,
        "lladdrlen": 6,
        "src": mac(packet, source=True),
        "proto": kind,
    }
    match interface.link, interface.numbers:
        case "ethernet", ():
            return ethernet(packet)
        case "vlan", (tag,):
            return ethernet(packet, Dot1Q(vlan=tag, type=kind))
        case "vlan", (outer, inner):
            return ethernet(packet, Dot1AD(vlan=outer) / Dot1Q(vlan=inner, type=kind))
        case "pppoe", (session,):
            return ethernet(packet, PPPoE(sessionid=session) / PPP(proto=PPP_PROTOCOLS[version(packet)]))
        case "linux-cooked", ():
            return bytes(CookedLinux(**cooked) / Raw(packet))
        case "linux-cooked-2", (number,):
            return bytes(CookedLinuxV2(**cooked, ifindex=number) / Raw(packet))
        case "null", ():  # by hand: scapy takes the byte order of the machine
            return struct.pack(order + "I", ADDRESS_FAMILIES[version(packet)]) + packet
        case "raw", ():
            return packet
        case "802.11-amsdu", ():
            return amsdu(packets)
    raise ValueError(f"There is no link {interface.link} with the numbers {interface.numbers}.")
