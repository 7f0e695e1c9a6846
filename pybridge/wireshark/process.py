# SPDX-License-Identifier: GPL-2.0-or-later
"""Run one tshark: its options, its pipes, its end, and the meaning of its messages.

pyshark builds the parameters and supervises the process. The event loop that pyshark needs runs in a worker thread, so that
it does not matter whether the caller has one running (Jupyter) or none.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from pyshark.capture.capture import Capture as PysharkCapture

from pybridge.errors import CaptureError, CutShortWarning, FilterError, PluginError, TSharkError, warn
from pybridge.wireshark.capture_source import STANDARD_INPUT, CaptureSource
from pybridge.wireshark.installation import find_program, global_plugins, lua_errors

# Reassembly and sequence analysis are two thirds of tshark's work and change no column that is read.
LEAN = {"tcp.desegment_tcp_streams": "FALSE", "tcp.analyze_sequence_numbers": "FALSE"}
PIPE_BLOCK = 1 << 20
PLUGIN_PROTOCOL = "tcp_handshake"

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_watcher_lock = threading.Lock()
_Result = TypeVar("_Result")


def warn_cut_short(text: str) -> None:
    """Warn the caller that only the whole packets of a capture were annotated."""
    warn(text, CutShortWarning)


class TSharkProcess(PysharkCapture):
    """A tshark process that writes to a pipe; a context manager that ends it.

    Parameters
    ----------
    source : CaptureSource
    arguments : sequence of str
        Options of tshark beside those of the source and the plugin.
    plugin : Path, optional
        Load this Lua plugin.
    lean : bool
        Turn off reassembly and sequence analysis.

    Attributes
    ----------
    output : binary file
        tshark's standard output.
    """

    def __init__(self, source: CaptureSource, arguments: Sequence[str], *, plugin: Path | None = None, lean: bool = True) -> None:
        if plugin and not plugin.is_file():
            raise PluginError(f"{plugin} does not exist: install pybridge again.")
        self._errors: list[str] = []
        self._writer_errors: list[str] = []
        self._source = source
        self._given = subprocess.DEVNULL  # tshark's standard input
        self._plugin = plugin
        self._home = tempfile.TemporaryDirectory(prefix="pybridge-")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="pybridge-tshark", daemon=True)
        script = ["-X", f"lua_script:{plugin}"] if plugin else []
        super().__init__(eventloop=self._loop, custom_parameters=[*script, *arguments], override_prefs=LEAN if lean else None)
        self._process: asyncio.subprocess.Process | None = None
        self._writer: asyncio.subprocess.Process | None = None
        self.output: BinaryIO = open(os.devnull, "rb")  # noqa: SIM115 - `__exit__` closes it

    def get_parameters(self, packet_count: int | None = None) -> list[str]:
        """Return tshark's arguments, pyshark's among them."""
        path = STANDARD_INPUT if self._source.path is None else os.path.realpath(self._source.path)
        return ["-n", *super().get_parameters(packet_count=packet_count), "-r", path]

    def pdml_parser(self) -> Any:
        """Return pyshark's parser of tshark's PDML."""
        return self._setup_tshark_output_parser()

    def wait(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Run a coroutine on the event loop, and wait for its result."""
        return self.result(asyncio.run_coroutine_threadsafe(work, self._loop))

    def begin(self, function: Callable[..., _Result], *arguments: Any) -> Future[_Result]:
        """Call in a worker thread, so that Ctrl-C reaches the main thread."""
        return asyncio.run_coroutine_threadsafe(asyncio.to_thread(function, *arguments), self._loop)

    @staticmethod
    def result(future: Future[_Result]) -> _Result:
        """Wait for the result of `begin`."""
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def call(self, function: Callable[..., _Result], *arguments: Any) -> _Result:
        """Call in a worker thread, and wait for the result."""
        return self.result(self.begin(function, *arguments))

    def __enter__(self) -> TSharkProcess:
        self._thread.start()
        read_end, write_end = os.pipe()
        if hasattr(fcntl, "F_SETPIPE_SZ"):  # each read takes the lock of Python's interpreter: few, large ones
            with contextlib.suppress(OSError):
                fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, PIPE_BLOCK)
        self.output.close()
        self.output = os.fdopen(read_end, "rb", buffering=PIPE_BLOCK)
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
        parameters = [find_program(), *self.get_parameters()]
        if not self._source.command:
            self._process = await self._run(parameters, self._given, output, self._errors)
            return self._process
        read_end, write_end = os.pipe()
        try:
            self._writer = await self._run(self._source.command, subprocess.DEVNULL, write_end, self._writer_errors)
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
                start_new_session=True,  # a Ctrl-C on the terminal reaches this process alone, which then ends tshark
            )
        self._stderr_handling_tasks.append(asyncio.ensure_future(_gather(process.stderr, errors)))
        return process

    def _environment(self) -> dict[str, str]:
        """Return an environment without personal preferences, profiles and plugins: a capture gives one result everywhere."""
        home = self._home.name
        return os.environ | {"HOME": home, "APPDATA": home, "WIRESHARK_CONFIG_DIR": home}

    def drain(self) -> None:
        """Read and discard the rest of the output, so that tshark can end."""
        while self.call(self.output.read, PIPE_BLOCK):
            pass

    def finish(self, on_cut_short: Callable[[str], object] = warn_cut_short, *, display_filter: str = "") -> None:
        """Raise or warn if tshark did not end well; to be called after the last byte of output.

        Parameters
        ----------
        on_cut_short : callable
            Called with a sentence if the capture is cut short or damaged.
        display_filter : str
            The user's display filter, which may be the reason of a failure.
        """
        process = self._process
        if process is None:
            return
        status = self.wait(process.wait())
        self.wait(self._stderr_read())
        label = self._source.label
        complaints = "".join(self._errors)
        if self._source.path is not None:
            complaints = complaints.replace(os.path.realpath(self._source.path), "")  # a file's name may contain such words, too
        lines = [line.strip() for line in complaints.splitlines() if line.strip() and "This could be dangerous" not in line]
        if self._writer:
            self._check_writer(self.wait(self._writer.wait()))
        if self._plugin:
            self._check_plugin(self._plugin, lines)
        if "cut short" in complaints:
            on_cut_short(f"{label} ends in the middle of a packet: all whole packets before that were annotated.")
        elif "damaged or corrupt" in complaints:
            on_cut_short(f"{label} is damaged: only the packets before the damage were annotated.")
        elif "isn't a capture file" in complaints:
            raise CaptureError(f"{label} is not a capture that tshark understands.")
        elif status < 0:
            raise TSharkError(f"tshark was ended by signal {-status} on {label}: try again, or install a newer Wireshark.")
        elif status:
            own = [line for line in lines if line.startswith("tshark: ")] or lines
            reason = own[-1].removeprefix("tshark: ").strip("(.)") if own else f"status {status}"
            if display_filter:
                raise FilterError(f"{display_filter!r} is not a display filter ({reason}): try it in Wireshark's filter bar.")
            if "doesn't support" in complaints:
                raise CaptureError(f"{label} has content that this tshark cannot read ({reason}): try a newer Wireshark.")
            raise TSharkError(f"tshark failed on {label}: {reason}.")

    def _check_writer(self, status: int) -> None:
        """Raise if the program that writes into tshark's pipe failed."""
        if status in (0, -getattr(signal, "SIGPIPE", 0)):  # SIGPIPE: tshark stopped reading
            return
        reason = "".join(self._writer_errors).split("\n")[0].strip(". ") or f"status {status}"
        raise CaptureError(f"{self._source.label} was read only in part ({reason}): read it again.")

    @staticmethod
    def _check_plugin(plugin: Path, lines: Sequence[str]) -> None:
        """Raise if tshark did not load the plugin."""
        reasons = list(lua_errors(lines))
        own_reason = next((reason for reason in reasons if _is_about(plugin, reason)), "")
        if "two protocols with the same" in own_reason:
            raise PluginError(
                f"The plugin is also in Wireshark's global plugin folder, {global_plugins()}: "
                "remove it there, tshark loads it before pybridge's own."
            )
        if own_reason:
            raise PluginError(f"tshark could not load {plugin} ({own_reason}): install pybridge again, or use the python engine.")
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
        """Kill the process groups of the writer and of tshark if they still run: either may be a wrapper with children."""
        for process in (self._writer, self._process):
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
        """Do nothing: `__exit__` closes, while pyshark would close on a loop that may be gone."""


async def _gather(stderr: asyncio.StreamReader | None, texts: list[str]) -> None:
    """Collect what a process writes to standard error; in blocks, since a complaint may be one endless line."""
    while stderr and (data := await stderr.read(PIPE_BLOCK)):
        if sum(map(len, texts)) < PIPE_BLOCK:
            texts.append(data.decode(errors="replace"))


def _is_about(plugin: Path, reason: str) -> bool:
    """Whether the reason names the plugin's file, whose beginning Lua may leave out, or no file."""
    found = re.search(r"(\S[^:]*\.lua):\d+:", reason.removeprefix("syntax error: "))
    return not found or str(plugin).endswith(found[1].removeprefix("..."))


@contextlib.contextmanager
def _child_watcher() -> Iterator[None]:
    """Use a child watcher that needs no loop of its own before Python 3.14; put the application's back afterwards.

    `set_child_watcher` would close the application's watcher, which only its main thread may do.
    """
    if sys.version_info >= (3, 14):
        yield
        return
    policy: Any = asyncio.get_event_loop_policy()
    if not hasattr(policy, "_watcher"):
        yield
        return
    with _watcher_lock:  # captures may be read in several threads
        watcher = policy._watcher
        policy._watcher = asyncio.ThreadedChildWatcher()
        try:
            yield
        finally:
            policy._watcher = watcher
