# SPDX-License-Identifier: GPL-2.0-or-later
"""The plugin in Wireshark itself, on a display of its own: xdotool presses keys, probe.lua logs what the plugin shows."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import StringIO
from pathlib import Path
from typing import BinaryIO, TypeVar

import pytest

from pybridge.wireshark import plugin_files
from tools.goldens.listing import find

pytestmark = [
    pytest.mark.gui,
    pytest.mark.tshark,
    pytest.mark.skipif(sys.platform != "linux", reason="xdotool presses keys in windows of X11, which Wireshark has on Linux"),
]

PATIENCE = 60  # seconds, for anything on a busy machine
PROBE = Path(__file__).parent.parent / "support" / "probe.lua"
PLUGIN = ("-X", f"lua_script:{plugin_files.path()}")
SCRIPTS = ("-X", f"lua_script:{PROBE}", *PLUGIN)
SETTINGS = ("-o", "gui.update.enabled:FALSE", "-o", "gui.ask_unsaved:FALSE")
TWO_PASSES = ("-2", "-R", "frame")  # the filter makes tshark dissect in the first one, too
CLEAR_FILTER = ("ctrl+slash", "ctrl+a", "BackSpace", "Return")
ITEMS = (  # of Tools, from the bottom
    *("slowest handshakes", "failed opens", "diagnosis", "connections"),
    *("explanations on", "explanations off"),
)
WINDOWS = "TCP Handshake: (connections|diagnosis)"

T = TypeVar("T")


def told(log: bytes, kind: str) -> list[str]:
    """Return the probe's entries of one kind."""
    entries = [entry.decode().partition("\n") for entry in log.split(b"\f")[:-1]]
    return [text for name, _, text in entries if name == kind]


class Wireshark:
    """Wireshark with the plugin and an empty home."""

    def __init__(self, home: Path, display: str, title: str, *arguments: str | Path) -> None:
        (home / "runtime").mkdir(mode=0o700)
        (home / "recent_common").write_text("privs.warn_if_elevated: FALSE\n")
        self.title = title
        self.log = home / "probe.log"
        self.log.touch()
        self.stderr = home / "stderr"
        self.seen = 0
        self.environment = os.environ | {
            "HOME": str(home),
            "WIRESHARK_CONFIG_DIR": str(home),
            "XDG_RUNTIME_DIR": str(home / "runtime"),
            "TMPDIR": str(home),
            "PROBE_LOG": str(self.log),
            "DISPLAY": display,
            "QT_QPA_PLATFORM": "xcb",
            "LC_ALL": "C.UTF-8",
        }
        command = ["wireshark", *SETTINGS, *SCRIPTS, *map(str, arguments)]
        with self.stderr.open("w") as stderr:
            self.process = subprocess.Popen(command, env=self.environment, stderr=stderr, start_new_session=True)

    def until(self, what: str, met: Callable[[], T | None]) -> T:
        """Wait for something to become true, and return it."""
        end = time.monotonic() + PATIENCE
        while not (result := met()):
            if self.process.poll() is not None or time.monotonic() > end:
                raise TimeoutError(f"no {what} of Wireshark (windows: {self.windows()}): {self.stderr.read_text()}")
            time.sleep(0.05)
        return result

    def xdotool(self, *arguments: str) -> str:
        command = ["xdotool", *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False, timeout=PATIENCE)
        return done.stdout.strip()

    def windows(self) -> list[str]:
        """Return the titles of the open windows."""
        return self.xdotool("search", "--onlyvisible", "--name", ".", "getwindowname", "%@").splitlines()

    def press(self, title: str, *keys: str) -> None:
        """Press keys in the window with a title that matches."""
        find = ("search", "--onlyvisible", "--limit", "1", "--name", title)
        window = self.until(f"window {title}", lambda: self.xdotool(*find))
        self.seen = self.log.stat().st_size
        self.xdotool("windowfocus", "--sync", window, "key", *keys)

    def choose(self, item: str) -> None:
        """Choose an item of the Tools menu."""
        self.press(self.title, "alt+t", *["Up"] * (ITEMS.index(item) + 1), "Return")

    def told(self, kind: str) -> list[str]:
        """Return the probe's entries of one kind since the last key was pressed."""
        return told(self.log.read_bytes()[self.seen :], kind)

    def tells(self, kind: str) -> str:
        """Wait for an entry of one kind by the probe, and return it."""
        return self.until(kind, lambda: self.told(kind))[-1]

    def shows(self, annotations: str) -> None:
        """Assert that all packets were dissected again since the last key was pressed, with these annotations."""
        with suppress(TimeoutError):
            self.until("annotations", lambda: self.told("packets")[-1:] == [annotations])
        assert annotations.splitlines() == "".join(self.told("packets")[-1:]).splitlines()

    def table(self) -> list[list[str]]:
        """Return the connections, copied as CSV from a new window."""
        self.choose("connections")
        text = self.tells("window")
        heading, *rows = csv.reader(StringIO(self.tells("clipboard")))
        connections = [dict(zip(heading, row, strict=True)) for row in rows]
        expected = ["stream {stream}, frame {frame}: {client} → {server}".format(**row) for row in connections]
        assert [line for line in text.splitlines() if line.startswith("stream")] == expected
        return [heading, *rows]

    @contextmanager
    def opened(self, pipe: Path) -> Iterator[BinaryIO]:
        """Open a pipe for writing once Wireshark captures from it."""

        def descriptor() -> int | None:
            with suppress(OSError):  # ENXIO: no reader yet
                return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
            return None

        with os.fdopen(self.until(f"capture from {pipe}", descriptor), "wb", buffering=0) as file:
            yield file

    def complaints(self) -> list[str]:
        """Return the lines of standard error about Lua."""
        return [line for line in self.stderr.read_text().splitlines() if "lua" in line.lower()]

    def quit(self) -> None:
        """Quit Wireshark; assert that it reported no error in a dialog or on standard error."""
        try:
            strange = [title for title in self.windows() if not re.search(f"{self.title}|{WINDOWS}$", title)]
            assert (strange, self.complaints()) == ([], [])
            self.press(self.title, "ctrl+q")
            assert self.process.wait(PATIENCE) == 0
            assert self.complaints() == []
            assert b"_ws.lua.error" not in self.log.read_bytes()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    """Start a virtual display and return its name."""
    reader, writer = os.pipe()
    command = ["Xvfb", "-displayfd", str(writer), "-screen", "0", "1200x800x24", "-nolisten", "tcp"]
    with subprocess.Popen(command, pass_fds=[writer], stderr=subprocess.DEVNULL) as server, os.fdopen(reader) as number:
        os.close(writer)
        yield ":" + number.readline().strip()
        server.terminate()


@pytest.fixture
def wireshark(display: str, tmp_path: Path) -> Iterator[Callable[..., Wireshark]]:
    opened: list[Wireshark] = []

    def wireshark(title: str, *arguments: str | Path) -> Wireshark:
        home = tmp_path / "home"
        home.mkdir()
        opened.append(Wireshark(home, display, title, *arguments))
        return opened[-1]

    yield wireshark
    for gui in opened:
        gui.quit()


Tshark = Callable[..., str]


@pytest.fixture
def tshark(tmp_path: Path) -> Tshark:
    """Return a function that runs tshark with an empty home and returns its output."""

    def tshark(*arguments: str | Path) -> str:
        environment = os.environ | {"WIRESHARK_CONFIG_DIR": str(tmp_path), "PROBE_LOG": str(tmp_path / "log")}
        command = ["tshark", "-n", *map(str, arguments)]
        return subprocess.run(command, env=environment, check=True, capture_output=True, encoding="utf-8").stdout

    return tshark


@pytest.fixture
def annotated(tshark: Tshark, tmp_path: Path) -> Callable[..., str]:
    """Return a function that gives the annotations of a capture as the probe logs them in tshark."""

    def annotated(path: Path, *options: str) -> str:
        log = tmp_path / "log"
        log.unlink(missing_ok=True)
        tshark("-q", *SCRIPTS, *options, "-r", path)
        return told(log.read_bytes(), "packets")[-1]

    return annotated


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """Merge goldens into a capture with connections of several kinds."""
    path = tmp_path / "merged.pcapng"
    names = ("refused", "ipv6", "article-wget")
    subprocess.run(["mergecap", "-a", "-w", path, *(find(f"{name}.pcapng") for name in names)], check=True)
    return path


def editcap(*arguments: str | Path) -> None:
    subprocess.run(["editcap", *arguments], check=True, capture_output=True)


def test_the_tools_show_and_filter_what_tshark_prints(
    wireshark: Callable[..., Wireshark], tshark: Tshark, annotated: Callable[..., str], capture: Path
) -> None:
    gui = wireshark(capture.name, "-r", capture)
    gui.shows(annotated(capture))
    again = annotated(capture, *TWO_PASSES)
    table = gui.table()
    printed = tshark("-q", *PLUGIN, "-z", "tcp_handshake,connections", "-r", capture)
    assert [cell for row in table for cell in row if cell] == printed.split()
    for item, streams in (("failed opens", {"0"}), ("slowest handshakes", {"1", "2"})):
        gui.choose(item)
        display_filter = gui.tells("filter")
        gui.shows(again)
        found = tshark(*TWO_PASSES, *PLUGIN, "-Y", display_filter, "-T", "fields", "-e", "tcp.stream", "-r", capture)
        assert set(found.split()) == streams
        gui.press(capture.name, *CLEAR_FILTER)
        gui.shows(again)
    assert gui.table() == table
    gui.choose("diagnosis")
    counted = tshark("-q", *TWO_PASSES, *PLUGIN, "-z", "tcp_handshake,diagnosis", "-r", capture)
    filters = {line[line.index("tcp_handshake.") :] for line in counted.splitlines() if "tcp_handshake." in line}
    shown = gui.tells("window")
    assert filters
    assert all(display_filter in shown for display_filter in filters)


def test_annotations_stay_right_when_an_open_capture_is_edited_and_reloaded(
    wireshark: Callable[..., Wireshark], annotated: Callable[..., str], capture: Path, tmp_path: Path
) -> None:
    gui = wireshark(capture.name, "-r", capture)
    expected = annotated(capture)
    gui.shows(expected)
    table = gui.table()
    gui.choose("explanations off")
    gui.shows(annotated(capture, "-o", "tcp_handshake.explanations:FALSE"))
    gui.choose("explanations on")
    gui.shows(expected)
    # The window stays open although Lua holds no reference to it.
    assert any("TCP Handshake: connections" in title for title in gui.windows())
    shifted, ignored = tmp_path / "shifted.pcapng", tmp_path / "ignored.pcapng"
    editcap("-t", "30", capture, shifted)
    editcap(shifted, ignored, "18")
    gui.press(capture.name, "ctrl+m", "ctrl+shift+t")
    gui.press("Time Shift", "Tab", "3", "0", "Return")
    gui.shows(annotated(shifted))
    gui.press("Time Shift", "Escape")
    gui.until("end of the dialog", lambda: not any("Time Shift" in title for title in gui.windows()))
    assert gui.table() == table
    gui.press(capture.name, "ctrl+g", "1", "8", "Return", "ctrl+d")
    gui.shows(annotated(ignored))
    assert gui.table()[:-1] == table[:-1]
    for keys in ("ctrl+r", "ctrl+shift+l", "ctrl+r", "ctrl+shift+l"):
        gui.press(capture.name, keys)
        gui.shows(expected)
        assert gui.table() == table


def test_a_live_capture_that_starts_midway_is_annotated_as_it_comes(
    wireshark: Callable[..., Wireshark], annotated: Callable[..., str], tmp_path: Path
) -> None:
    begun, whole = tmp_path / "begun.pcap", tmp_path / "whole.pcap"
    editcap("-F", "pcap", "-r", find("article-wget.pcapng"), begun, "3-7")
    editcap("-F", "pcap", "-r", find("article-wget.pcapng"), whole, "3-10")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    gui = wireshark("pipe", "-k", "-i", pipe)
    with gui.opened(pipe) as capture:
        capture.write(begun.read_bytes())
        gui.shows(annotated(begun))
        capture.write(whole.read_bytes().removeprefix(begun.read_bytes()))
        gui.shows(annotated(whole))
        table = gui.table()
    gui.press("pipe", "ctrl+shift+l")
    gui.shows(annotated(whole))
    assert gui.table() == table
