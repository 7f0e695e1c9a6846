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
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pybridge.errors import CaptureError, CutShortWarning, LeftOutWarning, NotCaptureWarning, SameFileWarning, warn
from pybridge.text import amount
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


NAMED = 5
"""Files that a message names."""


class Survey(NamedTuple):
    """What capinfos says of files that a user names together.

    Attributes
    ----------
    files : list of MergedFile
        The captures, by name.
    strangers : list of str
        Names of files that are no captures.
    unreadable : list of CaptureError
        Why others cannot be read.
    """

    files: list[MergedFile]
    strangers: list[str]
    unreadable: list[CaptureError]


@contextlib.contextmanager
def surveyed(names: Sequence[str]) -> Iterator[Survey]:
    """Look at files; as long as the context lasts, there are copies of the whole packets of those that were cut short."""
    with tempfile.TemporaryDirectory(prefix="pybridge-") as copies:
        survey = Survey([], [], [])
        for name, found in _checked(names, Path(copies)).items():
            if isinstance(found, MergedFile):
                survey.files.append(found)
            elif isinstance(found, _NoCaptureError):
                survey.strangers.append(name)
            else:
                survey.unreadable.append(found)
        yield survey


class _NoCaptureError(CaptureError):
    """The file is no capture, or holds no packet."""


def names_in(source: str) -> list[str]:
    """Return the names of the files in a folder, or of those that a pattern matches, in order; without hidden ones.

    Raises
    ------
    CaptureError
        There are none.
    """
    try:
        names = [entry.path for entry in os.scandir(source)] if os.path.isdir(source) else glob.glob(source)
    except OSError as error:
        raise CaptureError(f"{source} cannot be read ({error.strerror}): check its name and permissions.") from None
    names = sorted(name for name in names if not os.path.basename(name).startswith(".") and not os.path.isdir(name))
    if not names:
        raise CaptureError(f"{source} names no file: check the folder's or the pattern's name.")
    return names


@contextlib.contextmanager
def open_merged(source: str | tuple[str, ...]) -> Iterator[CaptureSource]:
    """Open the files in a folder, those that a pattern matches, or those that are named, as one capture.

    Raises
    ------
    CaptureError
        None of the files can be read, or one that was named.

    Warns
    -----
    CutShortWarning, LeftOutWarning, NotCaptureWarning, SameFileWarning
    """
    label, names = (source, names_in(source)) if isinstance(source, str) else (amount(len(source), "file"), [*source])
    with surveyed(names) as survey, _many_open_files():
        if not isinstance(source, str):
            for name in survey.strangers:
                raise CaptureError(_no_capture(name))
            for error in survey.unreadable:
                raise error
        yield _merged(label, survey)


def _merged(label: str, survey: Survey) -> CaptureSource:
    if not survey.files:
        raise CaptureError(f"None of the files of {label} could be read: name a folder or a pattern of capture files.")
    warn_left_out(label, survey)
    cut = [file.name for file in survey.files if file.path != file.name]
    if len(cut) == 1:
        text = f"{cut[0]} ends in the middle of a packet, or is damaged: all whole packets before that were annotated."
        warn(text, CutShortWarning)
    elif cut:
        text = f"{len(cut)} files of {label} end in the middle of a packet, or are damaged ({_listed(cut)})"
        warn(f"{text}: all whole packets before that were annotated.", CutShortWarning)
    files = _distinct(label, survey.files)
    return CaptureSource(label, command=merge_command(files), files=tuple(file for file in files if file.frames))


def warn_left_out(label: str, survey: Survey) -> None:
    """Warn once about all files that are no captures, and once about all that cannot be read."""
    strangers, unreadable = survey.strangers, survey.unreadable
    if strangers:
        are = "is no capture and was" if len(strangers) == 1 else "are no captures and were"
        warn(f"{amount(len(strangers), 'file')} of {label} {are} left out: {_listed(strangers)}.", NotCaptureWarning)
    if len(unreadable) == 1:
        warn(f"{unreadable[0]} It was left out.", LeftOutWarning)
    elif unreadable:
        warn(f"{len(unreadable)} files of {label} could not be read and were left out, the first because: {unreadable[0]}",
             LeftOutWarning)  # fmt: skip


def _no_capture(name: str) -> str:
    return f"{name} is not a capture that tshark understands, or is cut short before its first packet."


def _listed(names: Sequence[str]) -> str:
    """Return the first names, without their folders."""
    return ", ".join(map(os.path.basename, names[:NAMED])) + (", …" if len(names) > NAMED else "")


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
            empty = os.path.isfile(name) and os.path.getsize(name) == 0
            checked[name] = _NoCaptureError(str(error)) if empty else error
    readable = [name for name in names if name not in checked]
    rows = _capinfos(readable)
    for number, name in enumerate(readable):
        row = rows.get(os.path.realpath(name))
        checked[name] = _file(name, name, row) if row else _checked_alone(name, copies / str(number))
    return {name: checked[name] for name in names}


def _checked_alone(name: str, copy: Path) -> MergedFile | CaptureError:
    subprocess.run([find_program("mergecap"), "-w", copy, os.path.realpath(name)], capture_output=True, check=False)
    row = _capinfos([str(copy)]).get(os.path.realpath(copy)) if copy.exists() else None
    return _file(name, str(copy), row) if row else _NoCaptureError(_no_capture(name))


def _capinfos(names: Sequence[str]) -> dict[str, str]:
    """Return a row for each file of which capinfos says nothing bad, by its path.

    A row has the encapsulation, the number of packets, and the earliest and latest time.
    """
    paths = [path for path in map(os.path.realpath, names) if not re.search(r"[\t\n\r]", path)]
    if not paths:
        return {}
    arguments = [find_program("capinfos"), "-T", "-r", "-S", "-E", "-c", "-a", "-e", *paths]
    done = subprocess.run(arguments, capture_output=True, check=False)
    bad = os.fsdecode(done.stderr)
    found = (line.split("\t", 1) for line in os.fsdecode(done.stdout).splitlines() if "\t" in line)
    return {path: row for path, row in found if f'"{path}"' not in bad}


def _file(name: str, path: str, row: str) -> MergedFile | CaptureError:
    encapsulation, frames, first, last = row.split("\t")[-4:]
    if encapsulation in NON_CAPTURE_ENCAPSULATIONS.values():
        return _NoCaptureError(f"{name} is not a capture: Wireshark knows it as another kind of file.")
    return MergedFile(name, path, int(frames), _time(first), _time(last))


def _time(text: str) -> int:
    return 0 if text == "n/a" else nanoseconds(text)


def _distinct(label: str, files: Iterable[MergedFile]) -> list[MergedFile]:
    """Return the files without copies of earlier ones. A copy with one packet stays: it may be a duplicate segment (rule G8)."""
    kept: dict[tuple[int, int, int], list[MergedFile]] = {}
    distinct, copies = [], []
    for file in files:
        alike = kept.setdefault((file.frames, file.first, file.last), [])
        same = next((other for other in alike if filecmp.cmp(file.path, other.path, shallow=False)), None)
        if same and file.frames > 1:
            copies.append((file.name, same.name))
            continue
        alike.append(file)
        distinct.append(file)
    if len(copies) == 1:
        warn(f"{copies[0][0]} holds the same as {copies[0][1]}: read once.", SameFileWarning)
    elif copies:
        names = _listed([name for name, _ in copies])
        warn(f"{len(copies)} files of {label} hold the same as others ({names}): each is read once.", SameFileWarning)
    return distinct


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
