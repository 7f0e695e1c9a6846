# SPDX-License-Identifier: GPL-2.0-or-later
"""Run two network namespaces with a cable between them; capture at the client's end, and note what `ss` prints at quiet moments.

A scenario can put a router between them: a third namespace, beyond the point of capture.

The capture sees the client's segments before they can be lost, and the server's before the client's firewall drops them. So every
segment, also a lost one, is in the capture once.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import platform
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Side = Literal["client", "server"]
Place = Literal["client", "server", "router"]
SIDES: tuple[Side, Side] = ("client", "server")
ADDRESSES = {4: {"client": "192.0.2.1", "server": "192.0.2.2"}, 6: {"client": "2001:db8::1", "server": "2001:db8::2"}}
NETWORKS = {4: "192.0.2.0/24", 6: "2001:db8::/64"}
DETOUR = "192.0.2.3"  # another name of the neighbour (see `detour`)
MACS = {"client": "02:00:00:00:00:01", "server": "02:00:00:00:00:02"}
PEER: dict[Side, Side] = {"client": "server", "server": "client"}
ROUTER = "192.0.2.254"
DEVICE = "lab0"
BEHIND = "lab1"  # the router's device on the server's side
WAY_BACK = "lab2"  # a second cable from the router to the client, which is not captured
CLIENT_PORT, SERVER_PORT = 40000, 80
QUIET = 0.12  # seconds without a frame or a change; an acknowledgement is delayed by 0.04 at most
PATIENCE = 12.0  # seconds until a timeout
SAME_NAMES = ("LISTEN", "SYN-SENT", "FIN-WAIT-1", "FIN-WAIT-2", "CLOSE-WAIT", "CLOSING", "LAST-ACK", "TIME-WAIT")
RFC_NAMES = {"ESTAB": "ESTABLISHED", "SYN-RECV": "SYN-RECEIVED"} | {name: name for name in SAME_NAMES}
SYSCTLS = {
    "net.ipv4.tcp_syn_retries": 2,
    "net.ipv4.tcp_fastopen": 3,
    "net.ipv4.tcp_tw_reuse": 1,
    "net.ipv4.tcp_invalid_ratelimit": 0,  # every segment that wants a challenge ACK gets one
    "net.ipv4.conf.all.arp_ignore": 8,  # the neighbours are fixed; no answer, when a deleted one is asked for (see `hold`)
    f"net.ipv4.neigh.{DEVICE}.mcast_solicit": 100,
    f"net.ipv6.neigh.{DEVICE}.mcast_solicit": 100,
}
RULES = """
table inet lab {
    chain quiet { type filter hook prerouting priority 0; icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } drop; }
    chain input { type filter hook input priority 0; }
    chain forward { type filter hook forward priority 0; }
    chain output { type filter hook output priority 0; }
    chain route { type route hook output priority 0; }
}
"""
_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000
_SIOCETHTOOL, _ETHTOOL_STXCSUM = 0x8946, 0x17
_TCP_FASTOPEN = 23
_TCP_REPAIR, _TCP_REPAIR_QUEUE, _TCP_QUEUE_SEQ, _SEND_QUEUE = 19, 20, 21, 2


@dataclass(frozen=True)
class Moment:
    """A quiet moment: the number of frames captured by then, and the kernel's states of a connection."""

    frame: int
    client_state: str
    server_state: str
    client: str
    server: str
    note: str

    def line(self) -> str:
        """Return the line of a `.states` file."""
        states = f"{self.client_state:<14}{self.server_state:<14}"
        return f"{self.frame:<4}{states}{self.client}  {self.server}  {self.note}\n"

    @classmethod
    def parse(cls, line: str) -> Moment:
        """Read a line of a `.states` file."""
        frame, client_state, server_state, client, server, note = line.split(maxsplit=5)
        return cls(int(frame), client_state, server_state, client, server, note.strip())


def load(path: Path) -> list[Moment]:
    """Read the quiet moments of a `.states` file: the lines that begin with a number."""
    return [Moment.parse(line) for line in path.read_text(encoding="utf-8").splitlines() if line[:1].isdigit()]


def run(*command: str, text: str | None = None) -> str:
    """Run a command that must succeed, and return its output."""
    done = subprocess.run(command, capture_output=True, text=True, input=text, timeout=PATIENCE, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


@dataclass
class Lab:
    """A scenario in progress."""

    version: int
    capture: Path
    stack: ExitStack
    moments: list[tuple[Moment, str]] = field(default_factory=list)
    opened: set[tuple[int, int]] = field(default_factory=set)

    # The network

    def namespace(self, place: Place) -> str:
        """Return the name of a namespace."""
        return f"real-tcp-{os.getpid()}-{place}"

    def inside(self, place: Place, *command: str, text: str | None = None) -> str:
        """Run a command in a namespace."""
        return run("ip", "netns", "exec", self.namespace(place), *command, text=text)

    def address(self, side: Side) -> str:
        """Return the address of a side."""
        return ADDRESSES[self.version][side]

    def build(self) -> None:
        """Make the namespaces, the cable, the addresses and the settings."""
        for side in SIDES:
            self._add_namespace(side)
        self._cable("client", DEVICE, "server", DEVICE)
        for side in SIDES:
            self._plug(side)
        for side in SIDES:
            self._neighbour("replace", side)

    def insert_router(self) -> None:
        """Put a router between the ends, which has the name of each for the other (IPv4 only)."""
        name = self.namespace("router")
        self._add_namespace("router")
        run("ip", "-n", self.namespace("server"), "link", "set", DEVICE, "netns", name)
        self._cable("router", BEHIND, "server", DEVICE)
        run("ip", "-n", name, "link", "set", BEHIND, "address", MACS["client"])
        self._plug("server")
        self._neighbour("replace", "server")
        for device, side in ((DEVICE, SIDES[0]), (BEHIND, SIDES[1])):
            run("ip", "-n", name, "link", "set", device, "up")
            self.set("router", f"net.ipv4.neigh.{device}.mcast_solicit", "100")
            run("ip", "-n", name, "route", "add", self.address(side), "dev", device)
            run("ip", "-n", name, "neigh", "add", self.address(side), "lladdr", MACS[side], "nud", "permanent", "dev", device)
        run("ip", "-n", name, "addr", "add", f"{ROUTER}/32", "dev", DEVICE)
        self.set("router", "net.ipv4.ip_forward", "1")

    def answer_another_way(self) -> None:
        """Let the router send what comes from the server over a second cable, which is not captured."""
        name = self.namespace("router")
        self._cable("router", WAY_BACK, "client", WAY_BACK)
        run("ip", "-n", self.namespace("client"), "link", "set", WAY_BACK, "address", MACS["client"], "up")
        run("ip", "-n", name, "link", "set", WAY_BACK, "up")
        run("ip", "-n", name, "route", "replace", self.address("client"), "dev", WAY_BACK)
        run(
            *("ip", "-n", name, "neigh", "add", self.address("client")),
            *("lladdr", MACS["client"], "nud", "permanent", "dev", WAY_BACK),
        )

    def unplug_server(self) -> None:
        """Let the router look for the server in vain, and say so at once."""
        self.set("router", f"net.ipv4.neigh.{BEHIND}.mcast_solicit", "1")
        self.set("router", f"net.ipv4.neigh.{BEHIND}.retrans_time_ms", "200")
        self._neighbour("del", "router")

    def forget_server(self) -> None:
        """Let the router have no route to the server."""
        run("ip", "-n", self.namespace("router"), "route", "del", self.address("server"))

    def _add_namespace(self, place: Place) -> None:
        run("ip", "netns", "add", self.namespace(place))
        self.stack.callback(run, "ip", "netns", "del", self.namespace(place))
        self.inside(place, "nft", "-f", "-", text=RULES)

    def _cable(self, place: Place, device: str, other: Place, other_device: str) -> None:
        near, far = (["netns", self.namespace(end)] for end in (place, other))
        run("ip", "link", "add", device, *near, "type", "veth", "peer", "name", other_device, *far)

    def _plug(self, side: Side) -> None:
        name, address = self.namespace(side), self.address(side)
        run("ip", "-n", name, "link", "set", DEVICE, "address", MACS[side], "addrgenmode", "none")
        flags = ["nodad"] if self.version == 6 else []
        run("ip", "-n", name, "addr", "add", f"{address}/{NETWORKS[self.version].split('/')[1]}", "dev", DEVICE, *flags)
        for key, value in SYSCTLS.items():
            self.set(side, key, str(value))
        with self.entered(side):
            _checksums_in_software()
        run("ip", "-n", name, "link", "set", DEVICE, "up")

    @contextmanager
    def entered(self, side: Side) -> Iterator[None]:
        """Put this thread into a namespace. Sockets that it makes there stay there."""
        with open("/proc/self/ns/net") as home, open(f"/run/netns/{self.namespace(side)}") as there:
            _setns(there.fileno())
            try:
                yield
            finally:
                _setns(home.fileno())

    def lose(self, receiver: Place, match: str, times: int | None = None, verdict: str = "drop") -> None:
        """Lose arriving segments that a firewall rule matches, for ever or `times` times.

        They have been captured before, unless the router loses what the server sends.
        """
        limit = "" if times is None else f"limit rate 1/day burst {times} packets "
        self._rule(receiver, f"{'forward' if receiver == 'router' else 'input'} {match} {limit}{verdict}")

    def suppress(self, sender: Side, match: str, times: int) -> None:
        """Drop the first `times` matching segments before they are sent, so that they are not captured."""
        self.inside(
            sender, "nft", "-f", "-", text=f"add rule inet lab output {match} limit rate 1/day burst {times} packets drop\n"
        )

    def alter(self, sender: Side, match: str, change: str) -> None:
        """Change matching segments before they are sent."""
        self._rule(sender, f"output {match} {change}")

    def detour(self, sender: Side, match: str, times: int = 1) -> None:
        """Keep back the first `times` matching segments by themselves, so that others overtake them (IPv4 only)."""
        route = f"{self.address(PEER[sender])} via {DETOUR} dev {DEVICE} onlink table 7"
        run("ip", "-n", self.namespace(sender), "route", "add", *route.split())
        run("ip", "-n", self.namespace(sender), "rule", "add", "fwmark", "7", "lookup", "7")
        self._rule(sender, f"route {match} limit rate 1/day burst {times} packets meta mark set 7")

    def arrive(self, sender: Side) -> None:
        """Send the segments that `detour` has kept back."""
        address = ["lladdr", MACS[PEER[sender]], "nud", "permanent"]
        run("ip", "-n", self.namespace(sender), "neigh", "replace", DETOUR, "dev", DEVICE, *address)

    def forget_time_wait(self, side: Side) -> None:
        """End TIME-WAIT without sending a segment."""
        self.inside(side, "ss", "-K", "state", "time-wait")

    def set(self, place: Place, key: str, value: str) -> None:
        """Change a setting of the kernel in a namespace."""
        self.inside(place, "sysctl", "-qw", f"{key}={value}")

    def _rule(self, place: Place, rule: str) -> None:
        self.inside(place, "nft", "-f", "-", text=f"add rule inet lab {rule}\n")

    def hold(self, *senders: Place) -> None:
        """Keep back all segments from now on: they wait in the kernel for the neighbour's address, and are not captured yet.

        The router keeps back what it has for the server, which has been captured.
        """
        for sender in senders or SIDES:
            self._neighbour("del", sender)

    def release(self, *senders: Place) -> None:
        """Send the segments that were kept back, and stop keeping back."""
        for sender in senders or SIDES:
            self._neighbour("replace", sender)

    def step(self, sender: Side) -> None:
        """Send the segments that were kept back, and keep back those that follow."""
        self.release(sender)
        self.hold(sender)

    def _neighbour(self, action: str, place: Place) -> None:
        peer: Side = "server" if place == "router" else PEER[place]
        device = BEHIND if place == "router" else DEVICE
        address = ["lladdr", MACS[peer], "nud", "permanent"] if action == "replace" else []
        run("ip", "-n", self.namespace(place), "neigh", action, self.address(peer), "dev", device, *address)

    def patient(self) -> None:
        """Delay retransmissions to two seconds, so that segments can be kept back without one."""
        for side in SIDES:
            self.set(side, "net.ipv4.tcp_early_retrans", "0")
            route = [NETWORKS[self.version], "dev", DEVICE, "rto_min", "2s"]
            run(
                "ip",
                "-n",
                self.namespace(side),
                f"-{self.version}",
                "route",
                "change" if self.version == 4 else "replace",
                *route,
            )

    # Sockets

    def bound(self, side: Side, port: int) -> socket.socket:
        """Return a socket that is bound in a namespace, and closed after the scenario."""
        with self.entered(side):
            bound = socket.socket(socket.AF_INET if self.version == 4 else socket.AF_INET6)
        self.stack.callback(bound.close)
        bound.settimeout(PATIENCE)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((self.address(side), port))
        return bound

    def listen(self, port: int = SERVER_PORT, backlog: int = 8, *, fast_open: bool = False) -> socket.socket:
        """Return a server's socket that listens."""
        listener = self.bound("server", port)
        if fast_open:
            listener.setsockopt(socket.IPPROTO_TCP, _TCP_FASTOPEN, 8)
        listener.listen(backlog)
        return listener

    def connect(
        self, port: int = CLIENT_PORT, to: int = SERVER_PORT, *, by: Side = "client", number: int | None = None
    ) -> socket.socket:
        """Begin an open, perhaps with this number on the SYN, and return its socket; `moment` waits for the outcome."""
        opening = self.bound(by, port)
        if number is not None:
            for option, value in (
                (_TCP_REPAIR, 1),
                (_TCP_REPAIR_QUEUE, _SEND_QUEUE),
                (_TCP_QUEUE_SEQ, number),
                (_TCP_REPAIR, -1),
            ):
                opening.setsockopt(socket.IPPROTO_TCP, option, struct.pack("I", value % 2**32))
        opening.setblocking(False)
        opening.connect_ex((self.address(PEER[by]), to))
        opening.settimeout(PATIENCE)
        return opening

    def fast_connect(self, data: bytes, port: int) -> socket.socket:
        """Begin an open by TCP Fast Open, with data on the SYN if there is a cookie."""
        opening = self.bound("client", port)
        opening.setblocking(False)
        with suppress(BlockingIOError):
            opening.sendto(data, socket.MSG_FASTOPEN, (self.address("server"), SERVER_PORT))
        opening.settimeout(PATIENCE)
        return opening

    def forge(
        self,
        flags: int,
        number: int,
        acknowledged: int = 0,
        data: bytes = b"",
        *,
        by: Side = "client",
        port: int = CLIENT_PORT,
        to: int = SERVER_PORT,
        hop_limit: int = 64,
    ) -> None:
        """Send a hand-made segment, also past what `hold` keeps back; the sender's kernel does not know of it."""
        ports = (port, to) if by == "client" else (to, port)
        number, acknowledged = number % 2**32, acknowledged % 2**32
        header = struct.pack("!HHIIBBHHH", *ports, number, acknowledged, 5 << 4, flags, 1024, 0, 0)
        family = socket.AF_INET if self.version == 4 else socket.AF_INET6
        ends = b"".join(socket.inet_pton(family, self.address(side)) for side in (by, PEER[by]))
        length = len(header) + len(data)
        checksum = _checksum(ends + struct.pack("!HH", socket.IPPROTO_TCP, length) + header + data)
        segment = header[:16] + checksum + header[18:] + data
        if self.version == 4:
            start = struct.pack("!BBHHHBB", 0x45, 0, 20 + length, 0, 0x4000, hop_limit, socket.IPPROTO_TCP)
            packet = start + _checksum(start + bytes(2) + ends) + ends + segment
        else:
            packet = struct.pack("!IHBB", 6 << 28, length, socket.IPPROTO_TCP, hop_limit) + ends + segment
        kind = struct.pack("!H", 0x0800 if self.version == 4 else 0x86DD)
        macs = b"".join(bytes.fromhex(MACS[side].replace(":", "")) for side in (PEER[by], by))
        frames = self.frames()
        with self.entered(by), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
            raw.bind((DEVICE, 0))
            raw.send(macs + kind + packet)
        self.wait(frames + 1)

    def accept(self, listener: socket.socket) -> socket.socket:
        """Accept the next connection of a server."""
        accepted, _ = listener.accept()
        self.stack.callback(accepted.close)
        return accepted

    def open(self) -> tuple[socket.socket, socket.socket]:
        """Establish a connection, and return both ends."""
        listener = self.listen()
        client = self.connect()
        server = self.accept(listener)
        self.moment("established")
        return client, server

    # The record

    def record(self) -> None:
        """Begin to capture."""
        ready = threading.Event()
        wanted = "tcp or icmp or (icmp6 and ip6[40] < 128)"
        command = ["tcpdump", "-i", DEVICE, "-n", "-U", "--immediate-mode", "--time-stamp-precision=nano", "-Z", "root"]
        command = ["ip", "netns", "exec", self.namespace("client"), *command, "-w", str(self.capture), wanted]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.stack.callback(_finish, process)

        def listen() -> None:
            assert process.stderr is not None
            for line in process.stderr:
                if "listening on" in line:
                    ready.set()

        threading.Thread(target=listen, daemon=True).start()
        if not ready.wait(PATIENCE):
            raise TimeoutError("tcpdump does not begin to capture.")
        self.recording = process

    def stop(self) -> None:
        """End the capture, before anything is cleaned up."""
        _finish(self.recording)

    def frames(self) -> int:
        """Return the number of frames that have been captured."""
        return len(self.captured())

    def captured(self) -> list[bytes]:
        """Return the frames that have been captured."""
        data = self.capture.read_bytes()
        frames, place = [], 24
        while place + 16 <= len(data):
            length = int.from_bytes(data[place + 8 : place + 12], "little")
            place += 16 + length
            if place <= len(data):
                frames.append(data[place - length : place])
        return frames

    def next_number(self, by: Side = "client", port: int = CLIENT_PORT, to: int = SERVER_PORT) -> int:
        """Return the sequence number after everything that an end was captured to send (without extension headers)."""
        ports = (port, to) if by == "client" else (to, port)
        following = None
        for frame in self.captured():
            tcp = 14 + (20 if self.version == 4 else 40)
            end = 14 + (int.from_bytes(frame[16:18], "big") if self.version == 4 else 40 + int.from_bytes(frame[18:20], "big"))
            if struct.unpack("!HH", frame[tcp : tcp + 4]) != ports:
                continue
            number, offset, flags = int.from_bytes(frame[tcp + 4 : tcp + 8], "big"), frame[tcp + 12] >> 4, frame[tcp + 13]
            length = end - tcp - 4 * offset + (flags & 1) + (flags >> 1 & 1)
            stop = (number + length) % 2**32
            if flags & 2 or following is None or (length and 0 < (stop - following) % 2**32 < 2**20):
                following = stop
        if following is None:
            raise LookupError(f"the {by} has sent nothing")
        return following

    def wait(self, frames: int) -> None:
        """Wait until this number of frames has been captured."""
        deadline = time.monotonic() + PATIENCE
        while self.frames() < frames:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.frames()} frames, not {frames}")
            time.sleep(0.01)

    def sockets(self, side: Side) -> list[tuple[str, ...]]:
        """Return the rows of `ss`: state, receive queue, send queue, own end, peer."""
        lines = self.inside(side, "ss", "-tanH").splitlines()
        return sorted((tuple(line.split()[:5]) for line in lines), key=lambda words: (words[3], words[4]))

    def moment(self, note: str, client_port: int = CLIENT_PORT, server_port: int = SERVER_PORT) -> None:
        """Wait for a quiet moment and note the states of a connection."""
        deadline = time.monotonic() + PATIENCE
        before = None
        while before != (before := (self.frames(), self.sockets("client"), self.sockets("server"))):
            if time.monotonic() > deadline:
                raise TimeoutError(f"no quiet moment: {note}")
            time.sleep(QUIET)
        frame, client_sockets, server_sockets = before
        client, server = self._end("client", client_port), self._end("server", server_port)
        if (state := _state(server_sockets, server, client)) not in (None, "SYN-RECEIVED"):
            self.opened.add((client_port, server_port))
        if state is None:
            listening = any(words[0] == "LISTEN" and words[3] == server for words in server_sockets)
            state = "LISTEN" if listening and (client_port, server_port) not in self.opened else "CLOSED"
        moment = Moment(frame, _state(client_sockets, client, server) or "CLOSED", state, client, server, note)
        tables = zip(SIDES, (client_sockets, server_sockets), strict=True)
        raw = "".join(f"    {side}: {' '.join(words)}\n" for side, table in tables for words in table)
        self.moments.append((moment, raw))

    def _end(self, side: Side, port: int) -> str:
        return f"{self.address(side)}:{port}" if self.version == 4 else f"[{self.address(side)}]:{port}"


Act = Callable[[Lab], None]


@contextmanager
def captured(target: Path, version: int = 4) -> Iterator[Lab]:
    """Build a lab and capture what happens in it to a file."""
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        lab = Lab(version, Path(scratch) / "capture.pcap", stack)
        lab.build()
        lab.record()
        yield lab
        lab.stop()
        run("editcap", "-F", "pcapng", str(lab.capture), str(target))


def film(name: str, idea: str, version: int, act: Act, folder: Path) -> None:
    """Run a scenario, and write its capture and its states."""
    with captured(folder / f"{name}.pcapng", version) as lab:
        act(lab)
    header = "frame, state of the client's end, of the server's end, both ends, what had happened; below it all lines of ss -tan"
    text = f"# {idea}\n# Linux {platform.release().split('-')[0]}. How to read this: README.md.\n"
    text += f"# {header}\n\n"
    text += "".join(moment.line() + raw for moment, raw in lab.moments)
    (folder / f"{name}.states").write_text(text, encoding="utf-8")


def _state(table: list[tuple[str, ...]], own: str, peer: str) -> str | None:
    states = [RFC_NAMES[words[0]] for words in table if words[3:5] == (own, peer)]
    if len(states) > 1:
        raise RuntimeError(f"{own} to {peer} is {' and '.join(states)}")
    return states[0] if states else None


def _checksum(data: bytes) -> bytes:
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF)


def _setns(descriptor: int) -> None:
    if _LIBC.setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def _checksums_in_software() -> None:
    """Let the kernel compute checksums: else the capture has those that a network card would complete."""
    value = ctypes.create_string_buffer(struct.pack("II", _ETHTOOL_STXCSUM, 0))
    request = struct.pack("16sP16x", DEVICE.encode(), ctypes.addressof(value))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCETHTOOL, request)


def _finish(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    process.wait(PATIENCE)
