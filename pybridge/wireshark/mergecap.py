# SPDX-License-Identifier: GPL-2.0-or-later
"""Read many files as one capture: capinfos checks each file, mergecap merges them.

mergecap writes the merged capture to a pipe that tshark reads. Thus order and numbers are Wireshark's, and there is no copy on
the disk. mergecap stops at the first packet that it cannot read: hence the check by capinfos.
"""

from __future__ import annotations

import contextlib
import filecmp
import glob
import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pybridge.errors import CaptureError, CutShortWarning, LeftOutWarning, SameFileWarning, warn
from pybridge.wireshark.capture_source import NON_CAPTURE_ENCAPSULATIONS, CaptureSource, MergedFile, check_file
from pybridge.wireshark.columns import read_times
from pybridge.wireshark.fields import nanoseconds
from pybridge.wireshark.installation import find_program

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]


@contextlib.contextmanager
def open_merged(source: str) -> Iterator[CaptureSource]:
    """Open the files in a folder, or those that a pattern matches, as one capture.

    Raises
    ------
    CaptureError
        None of the files can be read.

    Warns
    -----
    CutShortWarning, LeftOutWarning, SameFileWarning
    """
    with tempfile.TemporaryDirectory(prefix="pybridge-") as copies, _many_open_files():
        yield _merged(source, Path(copies))


def _merged(source: str, copies: Path) -> CaptureSource:
    try:
        names = [entry.path for entry in os.scandir(source)] if os.path.isdir(source) else glob.glob(source)
    except OSError as error:
        raise CaptureError(f"{source} cannot be read ({error.strerror}): check its name and permissions.") from None
    names = sorted(name for name in names if not os.path.basename(name).startswith(".") and not os.path.isdir(name))
    if not names:
        raise CaptureError(f"{source} names no file: check the folder's or the pattern's name.")
    files = []
    for name, found in _checked(names, copies).items():
        if isinstance(found, CaptureError):
            warn(f"{found} It was left out.", LeftOutWarning)
            continue
        files.append(found)
        if found.path != name:
            text = f"{name} ends in the middle of a packet, or is damaged: all whole packets before that were annotated."
            warn(text, CutShortWarning)
    if not files:
        raise CaptureError(f"None of the files of {source} could be read: name a folder or a pattern of capture files.")
    files = list(_distinct(files))
    return CaptureSource(source, command=merge_command(files), files=tuple(file for file in files if file.frames))


def merge_command(files: Iterable[MergedFile], *, append: bool = False) -> tuple[str, ...]:
    """Return the command that writes the files as one capture to its standard output, by time or one after the other.

    Of packets with the same time mergecap takes the one whose file was named last: here, the first by name.
    """
    paths = [os.path.realpath(file.path) for file in files]
    return (find_program("mergecap"), "-w", "-", *(["-a", *paths] if append else reversed(paths)))


def packet_times(files: Iterable[MergedFile]) -> NDArray[np.int64]:
    """Return when the packets of the files were captured, one file after the other, in nanoseconds since the epoch."""
    import numpy as np

    appended = CaptureSource("the files", command=merge_command(files, append=True))
    found = [nanoseconds(text or "") for block in read_times(appended) for text in block.to_pylist()]
    return np.array(found, np.int64)


def _checked(names: Sequence[str], copies: Path) -> dict[str, MergedFile | CaptureError]:
    """Return the files that mergecap can read, and the reason for each that it cannot."""
    checked: dict[str, MergedFile | CaptureError] = {}
    for name in names:
        try:
            check_file(name)
        except CaptureError as error:
            checked[name] = error
    readable = [name for name in names if name not in checked]
    rows = _capinfos(readable)
    if rows is None:  # at least one file is damaged or no capture
        checked |= {name: _checked_alone(name, copies / str(number)) for number, name in enumerate(readable)}
    else:
        checked |= {name: _file(name, name, row) for name, row in zip(readable, rows, strict=True)}
    return {name: checked[name] for name in names}


def _checked_alone(name: str, copy: Path) -> MergedFile | CaptureError:
    if rows := _capinfos([name]):
        return _file(name, name, rows[0])
    subprocess.run([find_program("mergecap"), "-w", copy, os.path.realpath(name)], capture_output=True, check=False)
    rows = _capinfos([str(copy)]) if copy.exists() else None
    if rows:
        return _file(name, str(copy), rows[0])
    return CaptureError(f"{name} is not a capture that tshark understands, or is cut short before its first packet.")


def _capinfos(paths: Sequence[str]) -> list[str] | None:
    """Return a row for each file: encapsulation, number of packets, earliest and latest time; None if capinfos complains."""
    arguments = [find_program("capinfos"), "-T", "-r", "-S", "-E", "-c", "-a", "-e", *map(os.path.realpath, paths)]
    done = subprocess.run(arguments, capture_output=True, check=False)
    rows = os.fsdecode(done.stdout).splitlines()
    return rows if done.returncode == 0 and len(rows) == len(paths) else None


def _file(name: str, path: str, row: str) -> MergedFile | CaptureError:
    encapsulation, frames, first, last = row.split("\t")[-4:]
    if encapsulation in NON_CAPTURE_ENCAPSULATIONS.values():
        return CaptureError(f"{name} is not a capture: Wireshark knows it as another kind of file.")
    return MergedFile(name, path, int(frames), _time(first), _time(last))


def _time(text: str) -> int:
    return 0 if text == "n/a" else nanoseconds(text)


def _distinct(files: Iterable[MergedFile]) -> Iterator[MergedFile]:
    """Yield the files without copies of earlier ones. A copy with one packet stays: it may be a duplicate segment (rule G8)."""
    kept: dict[tuple[int, int, int], list[MergedFile]] = {}
    for file in files:
        alike = kept.setdefault((file.frames, file.first, file.last), [])
        same = next((other for other in alike if filecmp.cmp(file.path, other.path, shallow=False)), None)
        if same and file.frames > 1:
            warn(f"{file.name} holds the same as {same.name}: read once.", SameFileWarning)
            continue
        alike.append(file)
        yield file


@contextlib.contextmanager
def _many_open_files() -> Iterator[None]:
    """Raise the limit of open files as far as the system allows: mergecap opens all files at once."""
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
