# SPDX-License-Identifier: GPL-2.0-or-later
"""The one place that knows dumpcap: the packets of an interface, or of a source that grows, handed to one tshark after the other.

tshark keeps something of every connection that it has ever seen, some 100 bytes for each packet. So it ends after `SESSION`
packets, and another one goes on with the rest. (`tshark -M` begins anew, too, but loses 11 MB each time.)
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import pyarrow as pa
from packaging.version import Version
from pyshark.capture.live_capture import LiveCapture

from pybridge.errors import CaptureError
from pybridge.wireshark import segments
from pybridge.wireshark.capture_source import SourceKind, check_file, check_standard_input, kind_of, label_of
from pybridge.wireshark.columns import BLOCK, GrowingCapture
from pybridge.wireshark.framing import Framing
from pybridge.wireshark.installation import find_program, tshark_version

SESSION = 1_000_000  # packets
BUFFER = 32  # MiB in the kernel for what comes while the next tshark starts; dumpcap's own default is 2
ENDING = 10  # seconds that dumpcap may take to end


class _Dumpcap(LiveCapture):
    """pyshark's options of dumpcap, without what it does around them.

    It would list all interfaces by a run of tshark before, hide what dumpcap says, and leave dumpcap behind.
    """

    def __init__(self, interface: str, bpf: str) -> None:
        self.interfaces = [interface]
        self.bpf_filter = bpf
        self.monitor_mode = False

    def _get_tshark_version(self) -> Version:
        return tshark_version()

    def command(self) -> list[str]:
        return [find_program("dumpcap"), *self._get_dumpcap_parameters(), "-B", str(BUFFER)]

    def __del__(self) -> None:
        """There is nothing to close."""


class Packets:
    """The packets of a source, as tshark prints them; in a `with` block that ends all processes.

    Parameters
    ----------
    source : str
        An interface; or `-`, standard input; or a file or named pipe.
    fields : sequence of str
        As in `tshark.columns`.
    bpf : str
        Capture filter for an interface, in libpcap's language.

    Raises
    ------
    CaptureError, TSharkError
    """

    def __init__(self, source: str, fields: Sequence[str] = segments.FIELDS, *, bpf: str = "") -> None:
        self._source = source
        self._fields = fields
        self._kind = kind_of(source)
        self._interface = self._kind in (SourceKind.ABSENT, SourceKind.PATTERN)
        if bpf and not self._interface:
            raise CaptureError(f"A capture filter is for an interface: {label_of(source)} is read as it comes.")
        if self._kind is SourceKind.STANDARD_INPUT:
            check_standard_input()
        elif self._kind in (SourceKind.FILE, SourceKind.FOLDER):
            check_file(source)
        self._bpf = bpf
        self._dumpcap: subprocess.Popen[bytes] | None = None
        self._tshark: GrowingCapture | None = None
        self._framing = Framing()
        self._input: int | None = None  # file descriptor
        self._ended = self._stopped = False

    def __enter__(self) -> Packets:
        tshark_version()
        self._said = tempfile.TemporaryFile()
        if self._interface:
            self._dumpcap = subprocess.Popen(
                _Dumpcap(self._source, self._bpf).command(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._said,
                start_new_session=True,  # Ctrl-C is ours to handle
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._dumpcap:
            self._dumpcap.kill()
            self._dumpcap.communicate()
        self._said.close()

    def sessions(self, patience: float | None) -> Iterator[Iterator[pa.RecordBatch | None]]:
        """For each tshark its batches, to be exhausted: it counts `tcp.stream` and frames from the beginning.

        Parameters
        ----------
        patience : float or None
            Seconds; None is among the batches whenever nothing came for so long.
        """
        while not (self._ended or self._stopped):
            with GrowingCapture(label_of(self._source), self._fields) as process:
                self._tshark = process
                relay = threading.Thread(target=self._relay, args=(process.input,), name="pybridge-relay", daemon=True)
                relay.start()
                yield process.batches(patience)
                if self._stopped and not self._dumpcap:
                    return  # the relay may wait for what others write for ever
                relay.join()
                self._check_dumpcap()
                process.finish()

    def _relay(self, target: BinaryIO) -> None:
        """Hand one session's packets to tshark."""
        try:
            with target:
                if self._input is None:
                    self._input = self._opened()
                target.write(self._framing.header)
                packets = 0
                while packets < SESSION:
                    taken, count = self._framing.take(SESSION - packets)
                    target.write(taken)
                    packets += count
                    if taken:
                        continue
                    target.flush()
                    data = os.read(self._input, BLOCK)
                    if not data:
                        target.write(self._framing.rest())
                        self._ended = True
                        return
                    self._framing.add(data)
        except OSError:  # tshark has ended, and says why
            self._ended = True
        finally:
            if self._ended and self._input is not None:
                os.close(self._input)

    def _opened(self) -> int:
        if self._dumpcap and self._dumpcap.stdout:
            return os.dup(self._dumpcap.stdout.fileno())
        if self._kind is SourceKind.STANDARD_INPUT:
            return os.dup(0)
        return os.open(self._source, os.O_RDONLY | getattr(os, "O_BINARY", 0))

    def stop(self) -> None:
        """Capture no more; what was captured still comes. May be called by a signal handler."""
        self._stopped = True
        if self._dumpcap:
            self._dumpcap.terminate()
        elif self._tshark:
            self._tshark.stop()

    def _check_dumpcap(self) -> None:
        if not (self._dumpcap and self._ended) or not self._dumpcap.wait(timeout=ENDING):
            return
        complaints = (line for line in self._dumpcap_said().splitlines() if line.startswith("dumpcap: "))
        reason = next(complaints, f"status {self._dumpcap.returncode}").removeprefix("dumpcap: ").strip(". ")
        raise CaptureError(
            f"{self._source} cannot be captured ({reason}): "
            "tshark -D lists the interfaces; run as root or join the group wireshark."
        )

    def _dumpcap_said(self) -> str:
        self._said.seek(0)
        return self._said.read(BLOCK).decode(errors="replace")

    def drops(self) -> tuple[int, int] | None:
        """Numbers of packets that dumpcap received, and that were dropped before or in it.

        Known when the sessions are over; None if it was not dumpcap that captured.
        """
        found = re.findall(r"received/dropped on interface .*: (\d+)/(\d+) \(", self._dumpcap_said())
        return (sum(int(received) for received, _ in found), sum(int(dropped) for _, dropped in found)) if found else None
