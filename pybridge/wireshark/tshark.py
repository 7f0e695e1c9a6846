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
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import pyarrow as pa
import pyarrow.csv
from packaging.version import Version
from pyshark.capture.capture import Capture as PysharkCapture
from pyshark.packet.packet import Packet
from pyshark.tshark import tshark as pyshark_tshark

from pybridge.errors import CaptureError, CutShortWarning, FilterError, PluginError, TSharkError

MINIMUM = Version("4.0.0")
STANDARD_INPUT = "-"
# Reassembly and sequence analysis are two thirds of tshark's work and change no column that is read.
LEAN = {"tcp.desegment_tcp_streams": "FALSE", "tcp.analyze_sequence_numbers": "FALSE"}
LINK_LAYERS = ("eth", "ip", "ipv6", "null", "sll", "wlan")  # without them next to nothing is dissected
BLOCK = 1 << 20
PLUGIN_PROTOCOL = "tcp_handshake"
NO_CAPTURES = {"134", "175", "202", "209"}  # encapsulations of what Wireshark shows though it is none: pictures, JSON, PEM, MP4

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_Result = TypeVar("_Result")
_config_lock = threading.RLock()
_copies: dict[str, str] = {}  # of what can be read only once: the copy's path, and what the user calls it


@dataclass(frozen=True)
class Feed:
    """A capture that another program writes to tshark's standard input.

    Attributes
    ----------
    name : str
        What the user calls it.
    command : tuple of str
        The program with its arguments; empty if we write it.
    """

    name: str
    command: tuple[str, ...]


Source = str | Feed


def find(program: str = "tshark") -> str:
    """Path of tshark, or of another program that comes with it.

    Raises
    ------
    TSharkError
        It is not installed.
    """
    try:
        with _no_config():
            return str(pyshark_tshark.get_process_path(process_name=program))
    except pyshark_tshark.TSharkNotFoundException:
        raise TSharkError(
            f"{program} was not found: install Wireshark 4.0 or later "
            "(apt install tshark, dnf install wireshark-cli, brew install wireshark) and put it on the PATH."
        ) from None


@contextlib.contextmanager
def _no_config() -> Iterator[None]:
    """Keep pyshark from a `config.ini` in the working directory: whatever that holds is not meant for it."""
    with _config_lock:
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
    except OSError as error:
        raise TSharkError(f"{path} does not run ({error.strerror}): install Wireshark 4.0 or later again.") from None
    except subprocess.CalledProcessError as error:
        reason = f"exit status {error.returncode}"
        raise TSharkError(f"{path} does not run ({reason}): install Wireshark 4.0 or later again.") from None
    except (ValueError, IndexError, pyshark_tshark.TSharkVersionException):
        raise TSharkError(f"{path} does not tell its version: install Wireshark 4.0 or later again.") from None
    if found < MINIMUM:
        raise TSharkError(f"tshark {found} is too old: install Wireshark 4.0 or later.")
    return Version(str(found))


def personal_plugins() -> Path:
    """Wireshark's personal folder of Lua plugins, as tshark names it."""
    return _plugins("Personal")


def plugin_folders() -> list[Path]:
    """Where tshark looks for Lua plugins."""
    return [folder for folder in (_plugins("Personal"), _plugins("Global")) if folder.is_dir()]


def personal_configuration() -> Path:
    """Wireshark's personal folder of preferences and profiles, as tshark names it."""
    folder = _folder("Personal configuration")
    if folder:
        return folder
    raise TSharkError("tshark names no folder for personal configuration: install Wireshark 4.0 or later again.")


def _plugins(whose: str) -> Path:
    folder = _folder(f"{whose} Lua Plugins", f"{whose} Plugins")
    if folder:
        return folder
    raise TSharkError(f"tshark names no folder for {whose.lower()} Lua plugins: install a Wireshark with Lua support.")


def _folder(*labels: str) -> Path | None:
    """The first of these folders that tshark names."""
    rows = (line.partition(":") for line in _tell("folders")[0])
    folders = {name.strip(): folder.strip() for name, _, folder in rows}
    return next((Path(folders[label]) for label in labels if folders.get(label)), None)


def _tell(what: str) -> tuple[list[str], list[str]]:
    """What tshark tells of itself as the user runs it, and its complaints."""
    version()
    ended = subprocess.run([find(), "-G", what], capture_output=True, check=False)
    return os.fsdecode(ended.stdout).splitlines(), os.fsdecode(ended.stderr).splitlines()


def lua_scripts() -> tuple[dict[Path, str], list[str]]:
    """The Lua plugins that the user's tshark loads, with their versions, and why others were not loaded."""
    lines, complaints = _tell("plugins")
    rows = ([cell.strip() for cell in line.split("\t")] for line in lines)
    # Wireshark 4.6 writes it with a capital.
    scripts = {Path(row[3]): row[1] for row in rows if len(row) > 3 and row[2].lower() == "lua script"}
    return scripts, list(_lua_errors(complaints))


def name(source: Source) -> str:
    """What to call the capture in a message."""
    if isinstance(source, Feed):
        return source.name
    source = _copies.get(source, source)
    return "standard input" if source == STANDARD_INPUT else source


def check_source(source: Source) -> None:
    """Raise `CaptureError` if `source` cannot be a capture; tells apart what tshark would not."""
    if isinstance(source, Feed):
        return
    if not source:
        raise CaptureError("The file's name is empty: name a capture file.")
    path = Path(source)
    try:
        if path.is_dir():
            raise CaptureError(f"{source} is a folder: name a capture file in it.")
        if not path.exists():
            raise CaptureError(f"{source} does not exist: check the file's name.")
        if not path.is_file():
            raise CaptureError(f"{source} is not a regular file: name a capture file.")
        with path.open("rb") as file:
            empty = not file.read(1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise CaptureError(f"{source} cannot be read ({reason}): check its name and permissions.") from None
    if empty:
        raise CaptureError(f"{name(source)} is empty: not a capture.")


@contextlib.contextmanager
def on_disk(source: str) -> Iterator[str]:
    """The capture as a file, which can be read more than once: standard input and pipes are copied.

    Raises
    ------
    CaptureError
        There is nothing to copy, or no room for the copy.
    """
    try:
        once = source == STANDARD_INPUT or stat.S_ISFIFO(os.stat(source).st_mode)
    except (OSError, ValueError):
        once = False  # said by `check_source`
    if not once:
        yield source
        return
    check_input(source)
    with tempfile.TemporaryDirectory(prefix="pybridge-") as folder:
        copy = os.path.join(folder, "capture")
        _copy(source, copy)
        _copies[copy] = source
        try:
            yield copy
        finally:
            del _copies[copy]


def check_input(source: str) -> None:
    """Raise `CaptureError` if this is standard input and nobody writes to it."""
    if source == STANDARD_INPUT and os.isatty(0):
        raise CaptureError("Nothing comes from standard input: pipe a capture into it, or name a file.")


def _copy(source: str, copy: str) -> None:
    given = source == STANDARD_INPUT
    try:
        with open(0 if given else source, "rb", closefd=not given) as pipe, open(copy, "wb") as file:
            shutil.copyfileobj(pipe, file, BLOCK)
    except OSError as error:
        where = tempfile.gettempdir()
        raise CaptureError(
            f"{name(source)} cannot be copied to {where} ({error.strerror}): save the capture to a file, and name that."
        ) from None


def _warn(text: str) -> None:
    warnings.warn(text, CutShortWarning, stacklevel=3)


def columns(
    source: Source,
    fields: Sequence[str],
    *,
    plugin: Path | None = None,
    two_passes: bool = False,
    every_packet: bool = False,
    warn: Callable[[str], object] = _warn,
) -> Iterator[pa.RecordBatch]:
    """Read fields of all TCP packets, and of ICMP errors about TCP, block by block.

    Parameters
    ----------
    source : str or Feed
        Path of the capture, or who writes it.
    fields : sequence of str
        Wireshark field names, or `%us` and `%ud`, the innermost source and destination address.
    plugin : Path, optional
        Load this Lua plugin, and read also packets that only it annotated, or that it failed on.
    two_passes : bool
        Dissect twice (`-2 -R frame`), as Wireshark does when a packet is looked at again.
    every_packet : bool
        Read packets without TCP, too.
    warn : callable
        Gets what is otherwise a warning: those of Python are one process's, not one thread's.

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
    # With the plugin, what it left without annotation is read too: nothing found must not look like nothing there.
    arguments = _tabs(fields)
    if not every_packet:
        arguments += ["-Y", f"tcp or {PLUGIN_PROTOCOL} or _ws.lua.error" if plugin else "tcp"]
    if two_passes:
        arguments += ["-2", "-R", "frame"]
    count = 0
    with _Process(source, arguments, plugin=plugin) as process:
        version()  # while tshark starts: it takes as long
        for batch in _blocks(process, fields):
            count += len(batch)
            yield batch
        process.finish(warn)
    if count <= every_packet and isinstance(source, str):  # Wireshark takes what is no capture for one packet
        _check_kind(source)


def times(feed: Feed) -> Iterator[pa.Array]:
    """`frame.time_epoch` of all packets, block by block, at a quarter of the cost of dissecting them."""
    arguments = _tabs(["frame.time_epoch"])
    for protocol in LINK_LAYERS:
        arguments += ["--disable-protocol", protocol]
    with _Process(feed, arguments) as process:
        for batch in _blocks(process, ["frame.time_epoch"]):
            yield batch.column(0)
        process.finish()


def _tabs(fields: Sequence[str]) -> list[str]:
    """Options to print these fields as custom columns."""
    texts = (field if field.startswith("%") else f"%Cus:{field}:0:U" for field in fields)
    layout = ",".join(f'"c{index}","{text}"' for index, text in enumerate(texts))
    return ["-T", "tabs", "-o", f"gui.column.format:{layout}"]


def _reading(fields: Sequence[str]) -> tuple[pa.csv.ReadOptions, pa.csv.ParseOptions, pa.csv.ConvertOptions]:
    """How to read what `_tabs` prints."""
    return (
        pa.csv.ReadOptions(column_names=list(fields), block_size=BLOCK, use_threads=False),
        pa.csv.ParseOptions(delimiter="\t", quote_char=False, double_quote=False, ignore_empty_lines=False),
        pa.csv.ConvertOptions(column_types=dict.fromkeys(fields, pa.string()), null_values=[""], strings_can_be_null=True),
    )


def _blocks(process: _Process, fields: Sequence[str]) -> Iterator[pa.RecordBatch]:
    try:
        reader = process.call(pa.csv.open_csv, process.output, *_reading(fields))
        ahead = process.begin(_next_batch, reader)
        while batch := process.result(ahead):
            ahead = process.begin(_next_batch, reader)  # read and parsed while the caller works
            yield batch
    except pa.ArrowInvalid as error:
        if "Empty CSV" in str(error):
            return
        process.drain()
        process.finish()  # if tshark ended in the middle of a line, that is to be said
        raise TSharkError(f"tshark's output cannot be read ({error}): report this as a bug.") from None


def _next_batch(reader: pa.csv.CSVStreamingReader) -> pa.RecordBatch | None:
    try:
        return reader.read_next_batch()
    except StopIteration:
        return None


def _check_kind(source: str) -> None:
    """Raise `CaptureError` if the file without TCP is none: Wireshark opens pictures and documents, too."""
    arguments = [*_tabs(["frame.encap_type"]), "-c", "1"]
    with _Process(source, arguments) as process:
        kind = process.call(process.output.read).decode().strip()
    if kind in NO_CAPTURES:
        raise CaptureError(f"{name(source)} is not a capture: Wireshark knows it as another kind of file.")


def matching(source: Source, display_filter: str, *, plugin: Path) -> set[int]:
    """Numbers of the frames that a display filter of the user's selects, dissected with Wireshark's own preferences.

    Raises
    ------
    CaptureError, FilterError, PluginError
    """
    check_source(source)
    version()
    arguments = [*_tabs(["frame.number"]), "-Y", display_filter]
    needed = plugin if PLUGIN_PROTOCOL in display_filter else None
    with _Process(source, arguments, plugin=needed, lean=False) as process:
        frames = {int(number) for batch in _blocks(process, ["frame.number"]) for number in batch.column(0).to_pylist()}
        process.finish(display_filter=display_filter)
    return frames


def follow(source: Source, stream: int) -> list[tuple[str, bytes]]:
    """What *Follow > TCP Stream* shows: in turns, who sent (address and port) and what, put together by Wireshark.

    Raises
    ------
    CaptureError
    """
    check_source(source)
    version()
    with _Process(source, ["-q", "-z", f"follow,tcp,raw,{stream}"], lean=False) as process:
        lines = process.call(process.output.read).decode().splitlines()
        process.finish()
    nodes = [line.partition(": ")[2] for line in lines if line.startswith("Node ")]
    data = [line for line in lines if re.fullmatch(r"\t?(?:[0-9a-f]{2})+", line)]
    return [(nodes[line.startswith("\t")], bytes.fromhex(line)) for line in data]


def packet(source: Source, frame: int) -> Packet:
    """The whole packet, dissected as Wireshark does, parsed by pyshark.

    Raises
    ------
    CaptureError
        Also if there is no such frame.
    """
    found = list(packets(source, f"frame.number == {frame}", last=frame))
    if not found:
        raise CaptureError(f"{name(source)} has no frame {frame}.")
    return found[0]


def packets(source: Source, display_filter: str, *, plugin: Path | None = None, last: int = 0) -> Iterator[Packet]:
    """Whole packets that a display filter selects, parsed by pyshark; up to frame `last` if given."""
    check_source(source)
    version()
    arguments = ["-T", "pdml", "-Y", display_filter]
    if last:
        arguments += ["-c", str(last)]
    with _Process(source, arguments, plugin=plugin, lean=plugin is not None) as process:
        parser = process.pdml_parser()
        stream = _Pipe(process.output.fileno())
        data = b""
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

    def __init__(self, source: Source, arguments: Sequence[str], *, plugin: Path | None = None, lean: bool = True) -> None:
        if plugin and not plugin.is_file():
            raise PluginError(f"{plugin} does not exist: install pybridge again.")
        self._errors: list[str] = []
        self._feed_errors: list[str] = []
        self._source = source
        self._given = subprocess.DEVNULL  # as tshark's standard input
        self._plugin = plugin
        self._home = tempfile.TemporaryDirectory(prefix="pybridge-")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="pybridge-tshark", daemon=True)
        script = ["-X", f"lua_script:{plugin}"] if plugin else []
        super().__init__(eventloop=self._loop, custom_parameters=[*script, *arguments], override_prefs=LEAN if lean else None)
        self._process: asyncio.subprocess.Process | None = None
        self._feeder: asyncio.subprocess.Process | None = None
        self.output: BinaryIO = open(os.devnull, "rb")  # noqa: SIM115 - `__exit__` closes it

    def get_parameters(self, packet_count: int | None = None) -> list[str]:
        path = STANDARD_INPUT if isinstance(self._source, Feed) else os.path.realpath(self._source)
        return ["-n", *super().get_parameters(packet_count=packet_count), "-r", path]

    def pdml_parser(self) -> Any:
        return self._setup_tshark_output_parser()

    def wait(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Run on the loop; the caller blocks."""
        return self.result(asyncio.run_coroutine_threadsafe(work, self._loop))

    def begin(self, function: Callable[..., _Result], *arguments: Any) -> Future[_Result]:
        """Call in a thread: a wait for tshark in the caller's could not be interrupted."""
        return asyncio.run_coroutine_threadsafe(asyncio.to_thread(function, *arguments), self._loop)

    @staticmethod
    def result(future: Future[_Result]) -> _Result:
        """What was begun comes to; the caller blocks."""
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def call(self, function: Callable[..., _Result], *arguments: Any) -> _Result:
        """Call in a thread, and wait."""
        return self.result(self.begin(function, *arguments))

    def __enter__(self) -> _Process:
        self._thread.start()
        read_end, write_end = os.pipe()
        if hasattr(fcntl, "F_SETPIPE_SZ"):  # each read takes the lock of Python's interpreter: few, large ones
            with contextlib.suppress(OSError):
                fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, BLOCK)
        self.output.close()
        self.output = os.fdopen(read_end, "rb", buffering=BLOCK)
        try:
            self._process = self.wait(self._start(write_end))
        except BaseException as error:
            self.__exit__()
            if isinstance(error, OSError):
                raise TSharkError(f"tshark could not be started ({error.strerror}): install Wireshark again.") from None
            raise
        finally:
            os.close(write_end)
        return self

    async def _start(self, output: int) -> asyncio.subprocess.Process:
        parameters = [find(), *self.get_parameters()]
        if isinstance(self._source, str) or not self._source.command:
            self._process = await self._run(parameters, self._given, output, self._errors)
            return self._process
        read_end, write_end = os.pipe()
        try:
            self._feeder = await self._run(self._source.command, subprocess.DEVNULL, write_end, self._feed_errors)
            self._process = await self._run(parameters, read_end, output, self._errors)
        finally:
            os.close(read_end)
            os.close(write_end)
        return self._process

    async def _run(self, command: Sequence[str], source: int, target: int, errors: list[str]) -> asyncio.subprocess.Process:
        with _child_watcher():
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=source,
                stdout=target,
                stderr=subprocess.PIPE,
                env=self._environment(),
                start_new_session=True,  # Ctrl-C is ours to handle: tshark is ended by us, not beside us
            )
        self._stderr_handling_tasks.append(asyncio.ensure_future(_gather(process.stderr, errors)))
        return process

    def _environment(self) -> dict[str, str]:
        """Nobody's preferences, profiles or plugins: the same capture gives the same result everywhere."""
        home = self._home.name
        return os.environ | {"HOME": home, "APPDATA": home, "WIRESHARK_CONFIG_DIR": home}

    def drain(self) -> None:
        """Let tshark end, whatever else it would print."""
        while self.call(self.output.read, BLOCK):
            pass

    def finish(self, warn: Callable[[str], object] = _warn, *, display_filter: str = "") -> None:
        """After the last byte: raise or warn if tshark did not end well; it can be because of a filter that the user gave."""
        process = self._process
        if process is None:
            return
        status = self.wait(process.wait())
        self.wait(self._stderr_read())
        source = name(self._source)
        said = "".join(self._errors)
        if isinstance(self._source, str):
            said = said.replace(os.path.realpath(self._source), "")  # a file's name says nothing of its state
        lines = [line.strip() for line in said.splitlines() if line.strip() and "This could be dangerous" not in line]
        if self._feeder:
            self._check_feeder(self.wait(self._feeder.wait()))
        if self._plugin:
            self._check_plugin(self._plugin, lines)
        if "cut short" in said:
            warn(f"{source} ends in the middle of a packet: all whole packets before that were annotated.")
        elif "damaged or corrupt" in said:
            warn(f"{source} is damaged: only the packets before the damage were annotated.")
        elif "isn't a capture file" in said:
            raise CaptureError(f"{source} is not a capture that tshark understands.")
        elif status < 0:
            raise TSharkError(f"tshark was ended by signal {-status} on {source}: try again, or install a newer Wireshark.")
        elif status:
            own = [line for line in lines if line.startswith("tshark: ")] or lines
            reason = own[-1].removeprefix("tshark: ").strip("(.)") if own else f"status {status}"
            if display_filter:
                raise FilterError(f"{display_filter!r} is not a display filter ({reason}): try it in Wireshark's filter bar.")
            if "doesn't support" in said:
                raise CaptureError(f"{source} holds what this tshark cannot read ({reason}): try a newer Wireshark.")
            raise TSharkError(f"tshark failed on {source}: {reason}.")

    def _check_feeder(self, status: int) -> None:
        if status in (0, -getattr(signal, "SIGPIPE", 0)):  # tshark had seen enough
            return
        said = "".join(self._feed_errors).split("\n")[0].strip(". ") or f"status {status}"
        raise CaptureError(f"{name(self._source)} could be read in part only ({said}): read it again.")

    @staticmethod
    def _check_plugin(plugin: Path, lines: Sequence[str]) -> None:
        reasons = list(_lua_errors(lines))
        ours = next((reason for reason in reasons if _is_about(plugin, reason)), "")
        if "two protocols with the same" in ours:
            raise PluginError(
                f"The plugin is also in Wireshark's global plugin folder, {_plugins('Global')}: "
                "remove it there, tshark loads it before pybridge's own."
            )
        if ours:
            raise PluginError(f"tshark could not load {plugin} ({ours}): install pybridge again, or use the python engine.")
        if not re.search(rf"{PLUGIN_PROTOCOL}\S* is (neither a field nor|not a valid)", " ".join(lines)):
            return
        if reasons:
            raise PluginError(f"tshark did not load the plugin ({reasons[0]}): remove that script, or use the python engine.")
        raise PluginError(
            "tshark did not load the plugin: Lua is disabled there, or ignored because you are root "
            "(Wireshark 4.4 and later); run as another user, or use the python engine."
        )

    async def _stderr_read(self) -> None:
        await asyncio.gather(*self._stderr_handling_tasks)

    def __exit__(self, *_: object) -> None:
        if self._thread.is_alive():
            self.wait(self._end())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=5)
        if not self._loop.is_running():
            self._loop.close()
        self.output.close()
        self._home.cleanup()

    async def _end(self) -> None:
        """End tshark and its feeder if they still run, with everything that a wrapper around them started."""
        for process in (self._feeder, self._process):
            if process and process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    if hasattr(os, "killpg"):
                        os.killpg(process.pid, signal.SIGKILL)
                    else:
                        process.kill()
                await process.wait()
        await self._stderr_read()
        await self._loop.shutdown_default_executor()  # a read that waited has met the end

    def __del__(self) -> None:
        """In pyshark this closes on a loop that may be gone; `__exit__` has done it."""


class Growing(_Process):
    """tshark on a capture that is still being written.

    Parameters
    ----------
    label : str
        What the user calls the capture.
    fields : sequence of str
        As in `columns`.

    Attributes
    ----------
    input : binary file
        Where to write it.
    """

    def __init__(self, label: str, fields: Sequence[str]) -> None:
        super().__init__(Feed(label, ()), [*_tabs(fields), "-l", "-Y", "tcp"])
        self._fields = fields
        self._rest = b""
        self.input: BinaryIO = self.output

    def __enter__(self) -> Growing:
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
        """Record batches as by `columns`, as they come; None whenever nothing came for so many seconds."""
        while True:
            ahead = self.begin(os.read, self.output.fileno(), BLOCK)
            while not wait([ahead], timeout=patience).done:
                yield None
            data = ahead.result()
            if not data:
                return
            whole, newline, self._rest = (self._rest + data).rpartition(b"\n")
            if newline:
                # in a thread, since in the main one pyarrow gives up at a Ctrl-C that only asks for the end
                table = self.call(pa.csv.read_csv, pa.BufferReader(whole + newline), *_reading(self._fields))
                yield from table.to_batches()

    def stop(self) -> None:
        """Read no more. May be called by a signal handler."""
        if self._process and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()


async def _gather(stderr: asyncio.StreamReader | None, said: list[str]) -> None:
    while stderr and (data := await stderr.read(BLOCK)):  # not by lines: what tshark says has no longest line
        if sum(map(len, said)) < BLOCK:
            said.append(data.decode(errors="replace"))


def _lua_errors(lines: Sequence[str]) -> Iterator[str]:
    """Why scripts could not be loaded."""
    for index, line in enumerate(lines):
        found = re.match(r"(?:tshark: )?Lua: (.*)", line)
        if found:
            yield " ".join(lines[index + 1 : index + 2] if found[1].startswith("Error during loading") else [found[1]])


def _is_about(plugin: Path, reason: str) -> bool:
    """Whether the reason names the plugin's file, of which Lua may leave out the beginning, or none."""
    found = re.search(r"(\S[^:]*\.lua):\d+:", reason.removeprefix("syntax error: "))
    return not found or str(plugin).endswith(found[1].removeprefix("..."))


@contextlib.contextmanager
def _child_watcher() -> Iterator[None]:
    """Before Python 3.14, a child watcher that needs no loop of its own; the application's, if it set one, is put back.

    Not by `set_child_watcher`: that would close the application's, which may only be done in its main thread.
    """
    if sys.version_info >= (3, 14):
        yield
        return
    policy: Any = asyncio.get_event_loop_policy()
    if not hasattr(policy, "_watcher"):
        yield
        return
    watcher = policy._watcher
    policy._watcher = asyncio.ThreadedChildWatcher()
    try:
        yield
    finally:
        policy._watcher = watcher
