# SPDX-License-Identifier: GPL-2.0-or-later
"""The one place that knows tshark: its options, its process and what it says when it fails.

pyshark finds tshark, builds its parameters and supervises its process; in place of pyshark's per-packet parsers, tshark
prints custom columns (`-T tabs`), which cost a seventh of `-T fields`, and pyarrow reads them in blocks.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import re
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.csv
from packaging.version import Version
from pyshark.capture.capture import Capture as PysharkCapture
from pyshark.packet.packet import Packet
from pyshark.tshark import tshark as pyshark_tshark

from pybridge.errors import CaptureError, CutShortWarning, PluginError, TSharkError

MINIMUM = Version("4.0.0")
STANDARD_INPUT = "-"
# Reassembly and sequence analysis are two thirds of tshark's work and change no column that is read.
LEAN = {"tcp.desegment_tcp_streams": "FALSE", "tcp.analyze_sequence_numbers": "FALSE"}
BLOCK = 1 << 20
PLUGIN_PROTOCOL = "tcp_handshake"

_Result = TypeVar("_Result")


def find() -> str:
    """Path of tshark.

    Raises
    ------
    TSharkError
        tshark is not installed.
    """
    try:
        with _no_config():
            return str(pyshark_tshark.get_process_path())
    except pyshark_tshark.TSharkNotFoundException:
        raise TSharkError(
            "tshark was not found: install Wireshark 4.0 or later "
            "(apt install tshark, dnf install wireshark-cli, brew install wireshark) and put it on the PATH."
        ) from None


@contextlib.contextmanager
def _no_config() -> Iterator[None]:
    """Keep pyshark from a `config.ini` in the working directory: whatever that holds is not meant for it."""
    get_config = pyshark_tshark.get_config
    pyshark_tshark.get_config = lambda: None
    try:
        yield
    finally:
        pyshark_tshark.get_config = get_config


def version() -> Version:
    """Version of tshark.

    Raises
    ------
    TSharkError
        tshark is missing, does not run, or is older than 4.0.
    """
    return _version(find())


@functools.cache
def _version(path: str) -> Version:
    try:
        with _no_config():
            found = pyshark_tshark.get_tshark_version(path)
    except (OSError, subprocess.CalledProcessError, pyshark_tshark.TSharkVersionException) as error:
        raise TSharkError(f"{path} does not run ({error}): install Wireshark 4.0 or later again.") from None
    if found < MINIMUM:
        raise TSharkError(f"tshark {found} is too old: install Wireshark 4.0 or later.")
    return Version(str(found))


def personal_plugins() -> Path:
    """Wireshark's personal folder of Lua plugins, as tshark names it."""
    version()
    listing = subprocess.run([find(), "-G", "folders"], capture_output=True, text=True, errors="replace", check=False).stdout
    for label in ("Personal Lua Plugins", "Personal Plugins"):
        for line in listing.splitlines():
            name, _, folder = line.partition(":")
            if name.strip() == label and folder.strip():
                return Path(folder.strip())
    raise TSharkError("tshark does not name a folder for personal Lua plugins: Lua support is missing, install a Wireshark that has it.")


def check_source(source: str) -> None:
    """Raise `CaptureError` if `source` cannot be a capture; tells apart what tshark would not."""
    if source == STANDARD_INPUT:
        return
    path = Path(source)
    if path.is_dir():
        raise CaptureError(f"{source} is a folder: name a capture file in it.")
    if not path.exists():
        raise CaptureError(f"{source} does not exist: check the file's name.")
    try:
        with path.open("rb") as file:
            empty = path.is_file() and not file.read(1)
    except OSError as error:
        raise CaptureError(f"{source} cannot be read ({error.strerror}): check its permissions.") from None
    if empty:
        raise CaptureError(f"{source} is empty: not a capture.")


def columns(
    source: str, fields: Sequence[str], *, plugin: Path | None = None, two_passes: bool = False
) -> Iterator[pa.RecordBatch]:
    """Read fields of all TCP packets, and of ICMP errors about TCP, block by block.

    Parameters
    ----------
    source : str
        Path of the capture, `-` for standard input.
    fields : sequence of str
        Wireshark field names, or `%us` and `%ud`, the innermost source and destination address.
    plugin : Path, optional
        Load this Lua plugin, and read only packets that it annotated (or failed on).
    two_passes : bool
        Dissect twice (`-2 -R frame`), as Wireshark does when a packet is looked at again.

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
    check_source(source)
    version()
    names = [f"c{index}" for index in range(len(fields))]
    layout = ",".join(
        f'"{name}","{field if field.startswith("%") else f"%Cus:{field}:0:U"}"'
        for name, field in zip(names, fields, strict=True)
    )
    arguments = ["-T", "tabs", "-o", f"gui.column.format:{layout}"]
    if plugin:
        arguments += ["-X", f"lua_script:{plugin}"]
        arguments += ["-Y", f"{PLUGIN_PROTOCOL} or _ws.lua.error"]
    else:
        arguments += ["-Y", "tcp"]
    if two_passes:
        arguments += ["-2", "-R", "frame"]
    with _Process(source, arguments) as process:
        yield from _blocks(process.output, names, fields)
        process.finish()


def _blocks(output: int, names: Sequence[str], fields: Sequence[str]) -> Iterator[pa.RecordBatch]:
    with os.fdopen(output, "rb", buffering=0) as pipe:
        try:
            reader = pa.csv.open_csv(
                pipe,
                pa.csv.ReadOptions(column_names=list(names), block_size=BLOCK, use_threads=False),
                pa.csv.ParseOptions(delimiter="\t", quote_char=False, double_quote=False, ignore_empty_lines=False),
                pa.csv.ConvertOptions(
                    column_types={name: pa.string() for name in names}, null_values=[""], strings_can_be_null=True
                ),
            )
        except pa.ArrowInvalid as error:
            if "Empty CSV" in str(error):
                return
            raise TSharkError(f"tshark's output cannot be read ({error}).") from None
        with reader:
            while True:
                try:
                    batch = reader.read_next_batch()
                except StopIteration:
                    return
                except pa.ArrowInvalid as error:
                    raise TSharkError(f"tshark's output cannot be read ({error}).") from None
                yield batch.rename_columns(list(fields))


def packet(source: str, frame: int) -> Packet:
    """The whole packet, dissected as Wireshark does, parsed by pyshark.

    Raises
    ------
    CaptureError
        Also if there is no such frame.
    """
    found = list(packets(source, f"frame.number == {frame}", last=frame))
    if not found:
        raise CaptureError(f"{source} has no frame {frame}.")
    return found[0]


def packets(source: str, display_filter: str, *, plugin: Path | None = None, last: int = 0) -> Iterator[Packet]:
    """Whole packets that a display filter selects, parsed by pyshark; up to frame `last` if given."""
    if source == STANDARD_INPUT:
        raise CaptureError("Standard input can be read only once: save the capture to a file to look at single packets.")
    check_source(source)
    version()
    arguments = ["-T", "pdml", "-Y", display_filter]
    if plugin:
        arguments += ["-X", f"lua_script:{plugin}"]
    if last:
        arguments += ["-c", str(last)]
    with _Process(source, arguments, lean=plugin is not None) as process:
        parser = process.pdml_parser()
        data = b""
        with os.fdopen(process.output, "rb", buffering=0) as pipe:
            stream = _Pipe(pipe.fileno())
            first = True
            while True:
                try:
                    found, data = process.wait(parser.get_packets_from_stream(stream, data, got_first_packet=not first))
                except EOFError:
                    break
                if found:
                    first = False
                    yield found
        process.finish()


class _Pipe:
    """What pyshark's parser needs of an asyncio stream, over a file descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    async def read(self, size: int) -> bytes:
        return await asyncio.to_thread(os.read, self._descriptor, size)


class _Process(PysharkCapture):
    """A tshark process that writes to a pipe: pyshark's parameters and supervision on an event loop of its own.

    The loop runs in a worker thread, so that it does not matter whether the caller has one running (Jupyter) or none.
    """

    def __init__(self, source: str, arguments: Sequence[str], *, lean: bool = True) -> None:
        self._errors: list[str] = []
        self._source = source
        self._home = tempfile.TemporaryDirectory(prefix="pybridge-")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="pybridge-tshark", daemon=True)
        find()
        super().__init__(eventloop=self._loop, custom_parameters=list(arguments), override_prefs=LEAN if lean else None)
        self._process: asyncio.subprocess.Process | None = None
        self.output = -1

    def get_parameters(self, packet_count: int | None = None) -> list[str]:
        source = self._source if self._source == STANDARD_INPUT else str(Path(self._source).absolute())
        return ["-n", *super().get_parameters(packet_count=packet_count), "-r", source]

    def pdml_parser(self) -> Any:
        return self._setup_tshark_output_parser()

    def wait(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Run on the loop; the caller blocks."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def __enter__(self) -> _Process:
        self._thread.start()
        self.output, write_end = os.pipe()
        try:
            self._process = self.wait(self._start(write_end))
        except OSError as error:
            self.__exit__(None, None, None)
            raise TSharkError(f"tshark could not be started ({error.strerror}).") from None
        finally:
            os.close(write_end)
        return self

    async def _start(self, output: int) -> asyncio.subprocess.Process:
        if sys.version_info < (3, 12):  # an application may have installed a child watcher that needs a loop of its own
            asyncio.get_event_loop_policy().set_child_watcher(asyncio.ThreadedChildWatcher())
        parameters = [find(), *self.get_parameters()]
        process = await asyncio.create_subprocess_exec(
            *parameters,
            stdin=None if self._source == STANDARD_INPUT else subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.PIPE,
            env=self._environment(),
            start_new_session=True,  # Ctrl-C is ours to handle: tshark is ended by us, not beside us
        )
        self._create_stderr_handling_task(process.stderr)
        self._created_new_process(parameters, process)
        return process

    def _environment(self) -> dict[str, str]:
        """Nobody's preferences, profiles or plugins: the same capture gives the same result everywhere."""
        home = self._home.name
        return os.environ | {"HOME": home, "APPDATA": home, "WIRESHARK_CONFIG_DIR": home}

    async def _handle_process_stderr_forever(self, stderr: asyncio.StreamReader) -> None:
        async for line in stderr:
            if len(self._errors) < 100:
                self._errors.append(line.decode(errors="replace").strip())

    def finish(self) -> None:
        """After the last byte: raise or warn if tshark did not end well."""
        process = self._process
        if process is None:
            return
        status = self.wait(process.wait())
        self.wait(self._stderr_read())
        said = [line for line in self._errors if line and "This could be dangerous" not in line]
        text = " ".join(said)
        if PLUGIN_PROTOCOL in text and ("neither a field nor a protocol" in text or "valid" in text):
            raise PluginError(
                "tshark did not load the plugin: Lua is disabled there, or ignored because you are root "
                "(Wireshark 4.4 and later); run as another user, or use the python engine."
            )
        if re.search(r"\bLua\b|lua_script|tcp_handshake.*\.lua", text, re.IGNORECASE):
            raise PluginError(f"The plugin failed in tshark: {said[0]}")
        if "cut short" in text or "damaged or corrupt" in text:
            warnings.warn(
                f"{self._source} ends in the middle of a packet: all whole packets before that were annotated.",
                CutShortWarning,
                stacklevel=2,
            )
        elif "isn't a capture file" in text:
            raise CaptureError(f"{self._source} is not a capture that tshark understands.")
        elif status:
            reason = said[-1] if said else f"status {status}"
            raise TSharkError(f"tshark failed on {self._source}: {reason}")

    async def _stderr_read(self) -> None:
        await asyncio.gather(*self._stderr_handling_tasks)

    def __exit__(self, *_: object) -> None:
        if self._thread.is_alive():
            with contextlib.suppress(Exception):
                self.wait(self.close_async())
            self._running_processes.clear()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=5)
        if not self._loop.is_running():
            self._loop.close()
        self._home.cleanup()

    def __del__(self) -> None:
        """pyshark's closes on a loop that may be gone; `__exit__` has done it."""
