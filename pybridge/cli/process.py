# SPDX-License-Identifier: GPL-2.0-or-later
"""Run a command as a process: signals, standard streams, messages, warnings and the exit status.

Data goes to standard output, everything else to standard error. Exit status: 0 done, 1 findings, 2 error.
"""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn, TextIO

import click

from pybridge import progress
from pybridge.cli import completion
from pybridge.errors import CutShortWarning, LeftOutWarning, PybridgeError
from pybridge.text import printable

FINDINGS, ERROR = 1, 2
INTERRUPTED = 128 + signal.SIGINT


class Diagnostics:
    """Shows the warnings of one command, and remembers whether the result is incomplete."""

    def __init__(self) -> None:
        self._categories: set[type[Warning]] = set()

    def show(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        """Print a warning of this package as one sentence; takes the place of `warnings.showwarning`."""
        if issubclass(category, UserWarning):
            self._categories.add(category)
            say(str(message))

    @property
    def status(self) -> int:
        """Exit status of a command on many files: 2 if a file was skipped or truncated."""
        return ERROR if self._categories & {LeftOutWarning, CutShortWarning} else 0


def run(command: click.Command, arguments: Sequence[str] | None) -> NoReturn:
    """Run a command with the arguments of the process, or with these, and exit."""
    diagnostics = Diagnostics()
    warnings.showwarning = diagnostics.show
    # Segments make no reference cycles; with Python's default threshold the search for cycles takes a quarter of the time.
    gc.set_threshold(100_000)
    _catch_signals()
    _keep_standard_streams()
    if (answered := completion.answer(command)) is not None:
        sys.exit(answered)
    try:
        context = command.make_context("pybridge", list(sys.argv[1:] if arguments is None else arguments), obj=diagnostics)
        with context:
            status = command.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as end:  # --help, --version
        status = end.exit_code
    except click.ClickException as error:
        error.show()
        status = ERROR
    except PybridgeError as error:
        say(str(error))
        status = ERROR
    except BrokenPipeError:  # the reader of our output has stopped reading, as `head` does
        _discard_output()
        status = 0
    except (KeyboardInterrupt, click.Abort):
        say("Interrupted.")
        status = INTERRUPTED
    except OSError as error:
        _discard_output()
        where = f"{os.fsdecode(error.filename)} cannot be used" if error.filename else "The output cannot be written"
        say(f"{where} ({error.strerror or error}): free some space, check permissions, or choose another place.")
        status = ERROR
    gc.freeze()  # skip the search for cycles at exit, which takes as long as reading a small capture
    sys.exit(status or 0)


def say(text: str) -> None:
    """Print a message to standard error."""
    show(f"pybridge: {text}", err=True)


def show(text: str, *, err: bool = False) -> None:
    """Print a line, not into the middle of a progress bar; control characters are escaped."""
    with progress.paused():
        click.echo(printable(text), err=err)


@contextmanager
def stopping(stop: Callable[[], None]) -> Iterator[None]:
    """Let the first Ctrl-C stop a live capture instead of the program."""
    before = signal.getsignal(signal.SIGINT)

    def end(_: int, __: FrameType | None) -> None:
        signal.signal(signal.SIGINT, before)
        stop()

    if before != signal.SIG_IGN:
        signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _catch_signals() -> None:
    """Turn a signal to end into an exception, so that tshark is ended and temporary files are removed.

    Further signals are ignored, so that this cleaning up is not cut short.
    """

    def end(number: int, _: FrameType | None) -> None:
        for name in caught:
            signal.signal(name, signal.SIG_IGN)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        sys.exit(128 + number)

    names = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    caught = [name for name in names if signal.getsignal(name) != signal.SIG_IGN]  # `nohup` and `&` ignore some
    for name in caught:
        signal.signal(name, end)


def _keep_standard_streams() -> None:
    """Replace standard streams that the caller closed by the null device; escape characters that the output cannot encode."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8"))  # noqa: SIM115 - open to the end
        elif name == "stdout" and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _discard_output() -> None:
    """Send data that is still buffered for standard output to the null device."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
