# SPDX-License-Identifier: GPL-2.0-or-later
"""`live`: real traffic on the loopback interface and growing sources; at the end it prints the table and leaves no process."""

from __future__ import annotations

import csv
import io
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue

import pytest

import pybridge
from pybridge import live
from pybridge.examples.traffic import write
from pybridge.live.monitor import Event, Limits
from pybridge.wireshark import dumpcap
from tests.conftest import Run
from tools.goldens.listing import REAL, find
from tools.split_points import tool

pytestmark = pytest.mark.tshark

COMMAND = [sys.executable, "-m", "pybridge", "live"]
LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"
RESET = struct.pack("ii", 1, 0)  # SO_LINGER
READY = 20  # seconds


class Peers:
    """A server on the loopback interface, and a closed port."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        with socket.create_server(("127.0.0.1", 0)) as silent:
            self.closed = silent.getsockname()[1]
        self.filter = f"tcp port {self.port} or tcp port {self.closed}"

    def talk(self, *, reset: bool = False) -> None:
        """Make a connection that the client closes, or the server resets."""
        with socket.create_connection(("127.0.0.1", self.port)) as client:
            server, _ = self._listener.accept()
            client.sendall(b"hello")
            server.recv(5)
            if reset:
                server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                server.close()
                return
            client.shutdown(socket.SHUT_WR)
            server.recv(1)
            server.close()

    def knock(self) -> None:
        """Make a connection that is refused."""
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", self.closed))

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def peers() -> Iterator[Peers]:
    found = Peers()
    yield found
    found.close()


class Running:
    """The command `pybridge live`, and the lines that it prints."""

    def __init__(self, *arguments: str, stdin: int = subprocess.DEVNULL) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            # A shell starts background jobs with Ctrl-C ignored, and children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        )
        self._lines: Queue[str] = Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self._lines.put(line)

    def line(self) -> str:
        return self._lines.get(timeout=READY)

    def children(self) -> set[int]:
        """Return the process ids of dumpcap and tshark."""
        found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(self.process.pid)], capture_output=True, text=True, check=False)
        return {int(number) for number in found.stdout.split()}

    def end(self, number: int) -> tuple[int, str]:
        """Send a signal; return the exit status and standard error."""
        self.process.send_signal(number)
        assert self.process.stderr
        said = self.process.stderr.read()
        return self.process.wait(timeout=READY), said


@contextmanager
def running(*arguments: str, stdin: int = subprocess.DEVNULL) -> Iterator[Running]:
    found = Running(*arguments, stdin=stdin)
    try:
        yield found
    finally:
        found.process.kill()
        found.process.communicate()


def until_told(running: Running, peers: Peers) -> str:
    """Return the first line printed. dumpcap does not report that it is ready, so connections are tried until one is captured."""
    stop = threading.Event()

    def knock() -> None:
        while not stop.wait(0.2):
            peers.knock()

    thread = threading.Thread(target=knock)
    thread.start()
    try:
        return running.line()
    finally:
        stop.set()
        thread.join()


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


# The loopback interface


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_handshakes_failures_and_closes_are_printed_as_they_happen_and_nothing_is_left(peers: Peers, number: int) -> None:
    with running(LOOPBACK, "--filter", peers.filter) as command:
        assert f"\u2192 127.0.0.1:{peers.closed}" in until_told(command, peers)
        peers.talk()
        lines = [command.line()]
        while "refused" in lines[-1]:
            lines.append(command.line())
        lines = [lines[-1], command.line()]
        peers.talk(reset=True)
        lines += [command.line(), command.line()]
        assert [line.split()[1] for line in lines] == ["opened", "closed", "opened", "reset"]
        assert lines[1].rstrip().endswith("by client")
        assert lines[3].rstrip().endswith(": reset-with-unread-data")
        assert all(f"\u2192 127.0.0.1:{peers.port}" in line for line in lines)
        children = command.children()
        assert len(children) == 2
        status, said = command.end(number)
    assert not any(alive(child) for child in children)
    if number == signal.SIGTERM:
        assert status == 128 + signal.SIGTERM
        return
    assert status == 0
    server = next(line for line in said.splitlines() if line.startswith(f"127.0.0.1:{peers.port} "))
    assert server.split()[1] == "2", "opened"
    assert server.endswith("1 mid-connection, by server")
    assert " captured, 0 dropped." in said


def test_the_iterator_ends_with_its_loop(peers: Peers) -> None:
    events = live.events(LOOPBACK, bpf=peers.filter)
    stop = threading.Event()

    def talk() -> None:
        while not stop.wait(0.2):
            peers.talk()

    thread = threading.Thread(target=talk)
    thread.start()
    try:
        found = [next(events), next(events)]
    finally:
        stop.set()
        thread.join()
        events.close()  # type: ignore[attr-defined]
    assert {event.client for event in found} == {"127.0.0.1"}
    assert {event.server_port for event in found} == {peers.port}
    assert {event.what for event in found} <= {"opened", "closed"}


def test_packets_dropped_by_dumpcap_are_counted() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        receiver.bind(("127.0.0.1", 0))
        address = receiver.getsockname()
        with dumpcap.Packets(LOOPBACK, bpf=f"udp port {address[1]}", kernel_buffer=1) as packets:
            sessions = packets.sessions(0.1)
            batches = next(sessions)
            deadline = time.monotonic() + READY
            while not packets._framing.header and time.monotonic() < deadline:  # dumpcap is ready
                next(batches)
            assert packets._dumpcap
            os.kill(packets._dumpcap.pid, signal.SIGSTOP)
            for _ in range(100):  # 6 MB
                sender.sendto(bytes(60_000), address)
            os.kill(packets._dumpcap.pid, signal.SIGCONT)
            packets.stop()
            for batch in (*batches, *sessions):
                assert batch is None
            drops = packets.drops()
    assert drops is not None
    assert drops[1] > 0


def test_rows_of_connections_are_printed_when_they_are_released(peers: Peers) -> None:
    with running(LOOPBACK, "--format", "csv", "--close-timeout", "0.5", "--filter", peers.filter) as command:
        head = command.line()
        first = until_told(command, peers)
        row = next(csv.DictReader(io.StringIO(head + first)))
        assert ("refused", "reset", str(peers.closed)) == (row["establishment"], row["termination"], row["server_port"])
        status, said = command.end(signal.SIGINT)
        assert status == 0, said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no-such-interface"], "no-such-interface cannot be captured ("),
        ([LOOPBACK, "--filter", "tcp port port"], f"{LOOPBACK} cannot be captured (Invalid capture filter"),
        (["-", "--filter", "tcp"], "A capture filter works only on an interface: leave it out for standard input."),
    ],
)
def test_a_source_that_cannot_be_captured_is_named_in_the_error(run: Run, arguments: list[str], said: str) -> None:
    done = run("live", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"pybridge: {said}")
    assert done.stderr.count("\n") == 1


# Sources that grow


@pytest.mark.parametrize("kind", ["standard input", "named pipe"])
@pytest.mark.parametrize("form", ["pcap", "pcapng"])
def test_a_source_that_grows_is_followed(tmp_path: Path, kind: str, form: str) -> None:
    source = tmp_path / "source"
    tool("editcap", "-F", form, find("article-wget.pcapng"), source)
    data = source.read_bytes()
    if kind == "standard input":
        reading, writing = os.pipe()
        command = Running("-", stdin=reading)
        os.close(reading)
    else:
        os.mkfifo(tmp_path / "pipe")
        command = Running(str(tmp_path / "pipe"))
        writing = os.open(tmp_path / "pipe", os.O_WRONLY)
    os.write(writing, data[: len(data) // 2])
    assert command.line().split()[1] == "opened"
    os.write(writing, data[len(data) // 2 :])
    assert command.line().split()[1] == "closed"  # the source is still open
    os.close(writing)
    assert command.process.wait(timeout=READY) == 0
    command.process.communicate()


def test_timeouts_expire_while_no_packets_come(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    with running("-", "--answer-timeout", "1", stdin=reading) as command:
        os.close(reading)
        tool("editcap", "-r", "-F", "pcap", find("refused.pcapng"), tmp_path / "syn.pcap", "1")
        os.write(writing, (tmp_path / "syn.pcap").read_bytes())
        assert command.line().split()[-2:] == ["unanswered:", "server-silent"]
        os.close(writing)


def test_a_truncated_source_is_reported(run: Run) -> None:
    done = run("live", "-", stdin=(find("article-wget.pcapng")).read_bytes()[:-10])
    assert done.returncode == 0
    assert "standard input ends in the middle of a packet" in done.stderr
    assert "opened" in done.stdout


# A file in fast motion


def test_restarting_tshark_changes_no_event() -> None:
    path = str(find("article-ssh.pcapng"))
    whole = list(live.events(path))
    with live.Live(path, session_packets=20) as sessions:
        assert list(sessions) == whole
    assert [event.what for event in whole] == ["opened", "closed"]


def test_a_handled_signal_does_not_end_the_events(tmp_path: Path) -> None:
    """pyarrow stops reading at Ctrl-C in the main thread, even when a handler only sets a flag, as the command's does."""
    path = tmp_path / "office.pcapng"
    write(path, frames=5_000, seed=1)
    expected = list(live.events(str(path)))
    stop = threading.Event()

    def press() -> None:
        while not stop.wait(0.0005):
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, lambda *_: None)
    thread = threading.Thread(target=press)
    thread.start()
    try:
        assert list(live.events(str(path))) == expected
    finally:
        stop.set()
        thread.join()
        signal.signal(signal.SIGINT, before)


def test_the_events_of_a_file_agree_with_its_connections() -> None:
    for path in map(str, (find("6in4.pcapng"), find("amsdu.pcapng"), REAL / "connect-scan.pcapng")):
        rows = pybridge.read(path, progress=False).connections
        told: dict[int, Event] = {}
        for event in live.events(path, limits=Limits(answer_timeout=1e6, close_timeout=1e6, idle_timeout=1e6)):
            told.setdefault(event.stream, event)
        expected = rows.loc[~rows["still_waiting"], "establishment"].to_dict()
        assert {stream: event.reason for stream, event in told.items()} == expected
