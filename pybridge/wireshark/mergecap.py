# SPDX-License-Identifier: GPL-2.0-or-later
"""Many files as one capture: the one place that knows mergecap and capinfos.

mergecap writes the merged capture to a pipe that tshark reads, so that order and numbers are Wireshark's and nothing is kept
on disk. It stops at the first packet that it cannot read; hence capinfos looks through each file before.
"""

from __future__ import annotations

import contextlib
import filecmp
import glob
import os
import re
import subprocess
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pybridge.errors import CaptureError, CutShortWarning, LeftOutWarning, SameFileWarning
from pybridge.wireshark import segments, tshark

NO_CAPTURES = {"mime", "json", "rfc7468", "mp4"}  # encapsulations; as `tshark.NO_CAPTURES`

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]


class File(NamedTuple):
    """One of the files.

    Attributes
    ----------
    name : str
        Its path as the user would write it.
    path : str
        What to read: the same, or, if the file was cut short, a copy of its whole packets.
    frames : int
        Number of packets.
    first, last : int
        Earliest and latest time, nanoseconds since the epoch; 0 where packets have no time.
    """

    name: str
    path: str
    frames: int
    first: int
    last: int


@dataclass(frozen=True)
class Merged(tshark.Feed):
    """A capture made of many files.

    Attributes
    ----------
    files : tuple of File
        By name, without those that hold no packets.
    """

    files: tuple[File, ...]


def is_many(source: str) -> bool:
    """Whether this is a folder, or a pattern and no file's name."""
    return os.path.isdir(source) or (re.search(r"[*?]|\[.+\]", source) is not None and not os.path.lexists(source))


@contextlib.contextmanager
def opened(source: tshark.Source) -> Iterator[tshark.Source]:
    """The capture as something that can be read more than once.

    A folder stands for the files in it, a pattern (`ring/*.pcapng`) for the files that fit it.

    Raises
    ------
    CaptureError
        None of the files can be read; or as `tshark.on_disk`.

    Warns
    -----
    CutShortWarning, LeftOutWarning, SameFileWarning
    """
    if isinstance(source, tshark.Feed):
        yield source
    elif is_many(source):
        with tempfile.TemporaryDirectory(prefix="pybridge-") as copies, _many_open_files():
            yield _merged(source, Path(copies))
    else:
        with tshark.on_disk(source) as path:
            yield path


def _merged(source: str, copies: Path) -> Merged:
    try:
        names = [entry.path for entry in os.scandir(source)] if os.path.isdir(source) else glob.glob(source)
    except OSError as error:
        raise CaptureError(f"{source} cannot be read ({error.strerror}): check its name and permissions.") from None
    names = sorted(name for name in names if not os.path.basename(name).startswith(".") and not os.path.isdir(name))
    if not names:
        raise CaptureError(f"{source} stands for no file: check the folder's or the pattern's name.")
    checked = _checked(names, copies)
    files = []
    for name, found in checked.items():
        if isinstance(found, CaptureError):
            warnings.warn(f"{found} It was left out.", LeftOutWarning, stacklevel=5)
            continue
        files.append(found)
        if found.path != name:
            text = f"{name} ends in the middle of a packet, or is damaged: all whole packets before that were annotated."
            warnings.warn(text, CutShortWarning, stacklevel=5)
    if not files:
        raise CaptureError(f"None of the files of {source} could be read: name a folder or a pattern of capture files.")
    files = list(_once(files))
    return Merged(source, command(files), tuple(file for file in files if file.frames))


def command(files: Iterable[File], *, append: bool = False) -> tuple[str, ...]:
    """The command that writes the files as one capture to its standard output, by time or one after the other.

    Of packets with the same time mergecap takes the one whose file was named last: here, the first by name.
    """
    paths = [os.path.realpath(file.path) for file in files]
    return (tshark.find("mergecap"), "-w", "-", *(["-a", *paths] if append else reversed(paths)))


def times(files: Iterable[File]) -> NDArray[np.int64]:
    """When the packets of the files were captured, one file after the other, in nanoseconds since the epoch."""
    appended = tshark.Feed("the files", command(files, append=True))
    found = [segments.nanoseconds(text or "") for block in tshark.times(appended) for text in block.to_pylist()]
    return np.array(found, np.int64)


def _checked(names: Sequence[str], copies: Path) -> dict[str, File | CaptureError]:
    """The files that mergecap can read, and why others cannot be read."""
    checked: dict[str, File | CaptureError] = {}
    for name in names:
        try:
            tshark.check_source(name)
        except CaptureError as error:
            checked[name] = error
    readable = [name for name in names if name not in checked]
    rows = _capinfos(readable)
    if rows is None:  # something is wrong with one of them
        checked |= {name: _checked_alone(name, copies / str(number)) for number, name in enumerate(readable)}
    else:
        checked |= {name: _file(name, name, row) for name, row in zip(readable, rows, strict=True)}
    return {name: checked[name] for name in names}


def _checked_alone(name: str, copy: Path) -> File | CaptureError:
    if rows := _capinfos([name]):
        return _file(name, name, rows[0])
    subprocess.run([tshark.find("mergecap"), "-w", copy, os.path.realpath(name)], capture_output=True, check=False)
    rows = _capinfos([str(copy)]) if copy.exists() else None
    if rows:
        return _file(name, str(copy), rows[0])
    return CaptureError(f"{name} is not a capture that tshark understands, or is cut short before its first packet.")


def _capinfos(paths: Sequence[str]) -> list[str] | None:
    """A row for each file: encapsulation, number of packets, earliest and latest time; None if it has complaints."""
    arguments = [tshark.find("capinfos"), "-T", "-r", "-S", "-E", "-c", "-a", "-e", *map(os.path.realpath, paths)]
    done = subprocess.run(arguments, capture_output=True, check=False)
    rows = os.fsdecode(done.stdout).splitlines()
    return rows if done.returncode == 0 and len(rows) == len(paths) else None


def _file(name: str, path: str, row: str) -> File | CaptureError:
    kind, frames, first, last = row.split("\t")[-4:]
    if kind in NO_CAPTURES:
        return CaptureError(f"{name} is not a capture: Wireshark knows it as another kind of file.")
    return File(name, path, int(frames), _time(first), _time(last))


def _time(text: str) -> int:
    return 0 if text == "n/a" else segments.nanoseconds(text)


def _once(files: Iterable[File]) -> Iterator[File]:
    """Without those that hold the same as one before; a packet alone may well have been captured twice (G8)."""
    kept: dict[tuple[int, int, int], list[File]] = {}
    for file in files:
        alike = kept.setdefault((file.frames, file.first, file.last), [])
        same = next((other for other in alike if filecmp.cmp(file.path, other.path, shallow=False)), None)
        if same and file.frames > 1:
            warnings.warn(f"{file.name} holds the same as {same.name}: read once.", SameFileWarning, stacklevel=6)
            continue
        alike.append(file)
        yield file


@contextlib.contextmanager
def _many_open_files() -> Iterator[None]:
    """Let mergecap open as many files as the system would: it opens all at once."""
    if resource is None:
        yield
        return
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
    try:
        yield
    finally:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
