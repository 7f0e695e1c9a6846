# SPDX-License-Identifier: GPL-2.0-or-later
"""Read the packets of an interface, or of a source that grows, by one tshark after the other; dumpcap captures them.

tshark never forgets a connection: its memory grows by some 100 bytes for each packet. So it ends after `SESSION_PACKETS` packets,
and another tshark continues. (`tshark -M` also begins anew, but leaks 11 MB each time.)
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO

from packaging.version import Version
from pyshark.capture.live_capture import LiveCapture

from pybridge.errors import CaptureError
from pybridge.wireshark.capture_source import SourceKind, check_file, check_standard_input, kind_of, label_of
from pybridge.wireshark.columns import BLOCK, GrowingCapture
from pybridge.wireshark.fields import FIELDS
from pybridge.wireshark.framing import Framing
from pybridge.wireshark.installation import find_program, tshark_version

if TYPE_CHECKING:
    import pyarrow as pa

SESSION_PACKETS = 1_000_000
"""Packets that one tshark reads."""

KERNEL_BUFFER = 32
"""MiB for packets that arrive while the next tshark starts; dumpcap's own default is 2."""

END_TIMEOUT = 10
"""Seconds that dumpcap may take to end."""


class _Dumpcap(LiveCapture):
    """The command of dumpcap, with the options that pyshark gives it.

    The rest of pyshark's class is not used: it runs tshark to list all interfaces, hides dumpcap's messages, and does not end
    dumpcap.
    """

    def __init__(self, interface: str, bpf: str, kernel_buffer: int) -> None:
        self.interfaces = [interface]
        self.bpf_filter = bpf
        self.monitor_mode = False
        self._kernel_buffer = kernel_buffer

    def _get_tshark_version(self) -> Version:
        return tshark_version()

    def command(self) -> list[str]:
        return [find_program("dumpcap"), *self._get_dumpcap_parameters(), "-B", str(self._kernel_buffer)]

    def __del__(self) -> None:
        """Do nothing: pyshark would close what this class does not open."""


class Packets:
    """The packets of a source, as tshark prints them. The `with` block ends all processes.

    Parameters
    ----------
    source : str
        An interface; or `-`, standard input; or a file or named pipe.
    fields : sequence of str
        As in `columns.read_columns`.
    bpf : str
        Capture filter for an interface, in libpcap's language.
    session_packets : int
        Packets that one tshark reads before another one continues.
    kernel_buffer : int
        MiB that the kernel keeps for dumpcap.

    Raises
    ------
    CaptureError, TSharkError
    """

    def __init__(
        self,
        source: str,
        fields: Sequence[str] = FIELDS,
        *,
        bpf: str = "",
        session_packets: int = SESSION_PACKETS,
        kernel_buffer: int = KERNEL_BUFFER,
    ) -> None:
        self._source = source
        self._fields = fields
        self._kind = kind_of(source)
        self._interface = self._kind in (SourceKind.ABSENT, SourceKind.PATTERN)
        if bpf and not self._interface:
            raise CaptureError(f"A capture filter works only on an interface: leave it out for {label_of(source)}.")
        if self._kind is SourceKind.STANDARD_INPUT:
            check_standard_input()
        elif self._kind in (SourceKind.FILE, SourceKind.FOLDER):
            check_file(source)
        self._bpf = bpf
        self._session_packets = session_packets
        self._kernel_buffer = kernel_buffer
        self._dumpcap: subprocess.Popen[bytes] | None = None
        self._tshark: GrowingCapture | None = None
        self._framing = Framing()
        self._input: int | None = None  # file descriptor
        self._ended = self._stopped = False

    def __enter__(self) -> Packets:
        tshark_version()
        self._messages = tempfile.TemporaryFile()
        if self._interface:
            self._dumpcap = subprocess.Popen(
                _Dumpcap(self._source, self._bpf, self._kernel_buffer).command(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._messages,
                start_new_session=True,  # so that Ctrl-C reaches only this process
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._dumpcap:
            self._dumpcap.kill()
            self._dumpcap.communicate()
        self._messages.close()

    def sessions(self, patience: float | None) -> Iterator[Iterator[pa.RecordBatch | None]]:
        """Yield the batches of one tshark after the other; the caller exhausts each.

        Each tshark counts `tcp.stream` and frames from the beginning.

        Parameters
        ----------
        patience : float or None
            Yield None among the batches whenever nothing came for so many seconds.
        """
        while not (self._ended or self._stopped):
            with GrowingCapture(label_of(self._source), self._fields) as process:
                self._tshark = process
                relay = threading.Thread(target=self._relay, args=(process.input,), name="pybridge-relay", daemon=True)
                relay.start()
                yield process.batches(patience)
                if self._stopped and not self._dumpcap:
                    return  # without join: the relay may wait for ever for the program that writes the source
                relay.join()
                self._check_dumpcap()
                process.finish()

    def _relay(self, target: BinaryIO) -> None:
        """Write the packets of one session to tshark."""
        try:
            with target:
                if self._input is None:
                    self._input = self._open_input()
                target.write(self._framing.header)
                packets = 0
                while packets < self._session_packets:
                    taken, count = self._framing.take(self._session_packets - packets)
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
        except OSError:  # tshark has ended; its own message gives the reason
            self._ended = True
        finally:
            if self._ended and self._input is not None:
                os.close(self._input)

    def _open_input(self) -> int:
        if self._dumpcap and self._dumpcap.stdout:
            return os.dup(self._dumpcap.stdout.fileno())
        if self._kind is SourceKind.STANDARD_INPUT:
            return os.dup(0)
        return os.open(self._source, os.O_RDONLY | getattr(os, "O_BINARY", 0))

    def stop(self) -> None:
        """Stop capturing; packets that are already captured still come. A signal handler may call this."""
        self._stopped = True
        if self._dumpcap:
            self._dumpcap.terminate()
        elif self._tshark:
            self._tshark.stop()

    def _check_dumpcap(self) -> None:
        if not (self._dumpcap and self._ended) or not self._dumpcap.wait(timeout=END_TIMEOUT):
            return
        complaints = (line for line in self._dumpcap_messages().splitlines() if line.startswith("dumpcap: "))
        reason = next(complaints, f"status {self._dumpcap.returncode}").removeprefix("dumpcap: ").strip(". ")
        raise CaptureError(
            f"{self._source} cannot be captured ({reason}): "
            "tshark -D lists the interfaces; run as root or join the group wireshark."
        )

    def _dumpcap_messages(self) -> str:
        self._messages.seek(0)
        return self._messages.read(BLOCK).decode(errors="replace")

    def drops(self) -> tuple[int, int] | None:
        """Return how many packets dumpcap received, and how many were dropped by it or before it.

        The numbers are known when the sessions are over. Return None if another program captured.
        """
        found = re.findall(r"received/dropped on interface .*: (\d+)/(\d+) \(", self._dumpcap_messages())
        return (sum(int(received) for received, _ in found), sum(int(dropped) for _, dropped in found)) if found else None
