# SPDX-License-Identifier: GPL-2.0-or-later
"""Read fields of packets as columns: tshark prints them as text (`-T tabs`), pyarrow reads the text in blocks.

Custom columns cost tshark a seventh of `-T fields`, which builds the whole protocol tree of every packet.
pyarrow is imported while tshark starts: both take as long.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import wait
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from pybridge.errors import CaptureError, TSharkError
from pybridge.wireshark.capture_source import NON_CAPTURE_ENCAPSULATIONS, CaptureSource
from pybridge.wireshark.installation import tshark_version
from pybridge.wireshark.process import PLUGIN_PROTOCOL, TSharkProcess, warn_cut_short

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.csv

BLOCK = 1 << 20
LINK_LAYERS = ("eth", "ip", "ipv6", "null", "sll", "wlan")
"""Protocols to disable where packets need not be dissected."""


def read_columns(
    source: CaptureSource,
    fields: Sequence[str],
    *,
    plugin: Path | None = None,
    two_passes: bool = False,
    every_packet: bool = False,
    on_cut_short: Callable[[str], object] = warn_cut_short,
) -> Iterator[pa.RecordBatch]:
    """Read fields of all TCP packets, and of ICMP errors about TCP, block by block.

    Parameters
    ----------
    source : CaptureSource
    fields : sequence of str
        Wireshark field names, or `%us` and `%ud`, the innermost source and destination address.
    plugin : Path, optional
        Load this Lua plugin, and read also packets that only the plugin annotated, or on which it failed.
    two_passes : bool
        Dissect twice (`-2 -R frame`), as Wireshark does when a packet is selected.
    every_packet : bool
        Read packets without TCP, too.
    on_cut_short : callable
        Called with a sentence if the capture is cut short, instead of `warnings.warn`, whose filters all threads share.

    Yields
    ------
    pyarrow.RecordBatch
        A string column per field, null where absent; several occurrences in a packet are joined with commas.

    Raises
    ------
    CaptureError, TSharkError, PluginError

    Warns
    -----
    CutShortWarning
    """
    source.check()
    # With the plugin, packets that it left without annotation are read too, so that a missing annotation is noticed.
    arguments = _tabs(fields)
    if not every_packet:
        arguments += ["-Y", f"tcp or {PLUGIN_PROTOCOL} or _ws.lua.error" if plugin else "tcp"]
    if two_passes:
        arguments += ["-2", "-R", "frame"]
    count = 0
    with TSharkProcess(source, arguments, plugin=plugin) as process:
        version = process.begin(tshark_version)
        for module in ("pyarrow.csv", "pyarrow.compute"):
            import_module(module)
        process.result(version)
        for batch in _blocks(process, fields):
            count += len(batch)
            yield batch
        process.finish(on_cut_short)
    if count <= every_packet:  # Wireshark reads a file that is no capture as one packet
        _check_encapsulation(source)


def read_times(source: CaptureSource) -> Iterator[pa.Array]:
    """Read `frame.time_epoch` of all packets, block by block, at a quarter of the cost of dissecting them."""
    arguments = _tabs(["frame.time_epoch"])
    for protocol in LINK_LAYERS:
        arguments += ["--disable-protocol", protocol]
    with TSharkProcess(source, arguments) as process:
        for batch in _blocks(process, ["frame.time_epoch"]):
            yield batch.column(0)
        process.finish()


def read_packets_with(source: CaptureSource, display_filter: str, fields: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Read fields of the packets that a display filter selects, dissected in full and with streams put together.

    Yields
    ------
    pyarrow.RecordBatch
        As of `read_columns`.

    Raises
    ------
    CaptureError, TSharkError
    """
    source.check()
    arguments = [*_tabs(fields), "-Y", display_filter]
    with TSharkProcess(source, arguments, lean=False) as process:
        yield from _blocks(process, fields)
        process.finish(lambda _: None)  # that the capture is cut short was said when it was read


def matching_frames(source: CaptureSource, display_filter: str, *, plugin: Path) -> set[int]:
    """Return the numbers of the frames that a user's display filter selects, dissected with Wireshark's own preferences.

    Raises
    ------
    CaptureError, FilterError, PluginError
    """
    source.check()
    tshark_version()
    arguments = [*_tabs(["frame.number"]), "-Y", display_filter]
    needed = plugin if PLUGIN_PROTOCOL in display_filter else None
    with TSharkProcess(source, arguments, plugin=needed, lean=False) as process:
        frames = {int(number) for batch in _blocks(process, ["frame.number"]) for number in batch.column(0).to_pylist()}
        process.finish(display_filter=display_filter)
    return frames


def _check_encapsulation(source: CaptureSource) -> None:
    """Raise `CaptureError` if a file without TCP is no capture: Wireshark opens pictures and documents, too."""
    if source.path is None:
        return
    arguments = [*_tabs(["frame.encap_type"]), "-c", "1"]
    with TSharkProcess(source, arguments) as process:
        encapsulation = process.call(process.output.read).decode().strip()
    if encapsulation in NON_CAPTURE_ENCAPSULATIONS:
        raise CaptureError(f"{source.label} is not a capture: Wireshark knows it as another kind of file.")


def _tabs(fields: Sequence[str]) -> list[str]:
    """Return the options that print these fields as custom columns."""
    texts = (field if field.startswith("%") else f"%Cus:{field}:0:U" for field in fields)
    layout = ",".join(f'"c{index}","{text}"' for index, text in enumerate(texts))
    return ["-T", "tabs", "-o", f"gui.column.format:{layout}"]


def _csv_options(fields: Sequence[str]) -> tuple[pa.csv.ReadOptions, pa.csv.ParseOptions, pa.csv.ConvertOptions]:
    """Return pyarrow's options for reading the output of `_tabs`."""
    import pyarrow as pa
    import pyarrow.csv

    return (
        pa.csv.ReadOptions(column_names=list(fields), block_size=BLOCK, use_threads=False),
        pa.csv.ParseOptions(delimiter="\t", quote_char=False, double_quote=False, ignore_empty_lines=False),
        pa.csv.ConvertOptions(column_types=dict.fromkeys(fields, pa.string()), null_values=[""], strings_can_be_null=True),
    )


def _blocks(process: TSharkProcess, fields: Sequence[str]) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa
    import pyarrow.csv

    try:
        reader = process.call(pa.csv.open_csv, process.output, *_csv_options(fields))
        ahead = process.begin(_next_batch, reader)
        while batch := process.result(ahead):
            ahead = process.begin(_next_batch, reader)  # read and parsed while the caller works
            yield batch
    except pa.ArrowInvalid as error:
        if "Empty CSV" in str(error):
            return
        process.drain()
        process.finish()  # if tshark ended in the middle of a line, its own reason is the better message
        raise TSharkError(f"tshark's output cannot be read ({error}): report this as a bug.") from None


def _next_batch(reader: pa.csv.CSVStreamingReader) -> pa.RecordBatch | None:
    try:
        return reader.read_next_batch()
    except StopIteration:
        return None


class GrowingCapture(TSharkProcess):
    """tshark on a capture that this process is still writing.

    Parameters
    ----------
    label : str
        What the user calls the capture.
    fields : sequence of str
        As in `read_columns`.

    Attributes
    ----------
    input : binary file
        Where to write the capture.
    """

    def __init__(self, label: str, fields: Sequence[str]) -> None:
        super().__init__(CaptureSource(label), [*_tabs(fields), "-l", "-Y", "tcp"])
        self._fields = fields
        self._rest = b""
        self.input: BinaryIO = self.output

    def __enter__(self) -> GrowingCapture:
        self._given, write_end = os.pipe()
        self.input = os.fdopen(write_end, "wb")
        try:
            super().__enter__()
        except BaseException:
            self.input.close()
            raise
        finally:
            os.close(self._given)
        return self

    def batches(self, patience: float | None) -> Iterator[pa.RecordBatch | None]:
        """Yield record batches as `read_columns` does, as they come; yield None whenever nothing came for `patience` seconds."""
        import pyarrow as pa
        import pyarrow.csv

        while True:
            ahead = self.begin(os.read, self.output.fileno(), BLOCK)
            while not wait([ahead], timeout=patience).done:
                yield None
            data = ahead.result()
            if not data:
                return
            whole, newline, self._rest = (self._rest + data).rpartition(b"\n")
            if newline:
                # In a worker thread: in the main thread pyarrow stops reading at a Ctrl-C, even if its handler only takes note.
                table = self.call(pa.csv.read_csv, pa.BufferReader(whole + newline), *_csv_options(self._fields))
                yield from table.to_batches()

    def stop(self) -> None:
        """Stop reading. A signal handler may call this."""
        if self._process and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
