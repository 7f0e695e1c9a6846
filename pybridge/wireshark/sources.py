# SPDX-License-Identifier: GPL-2.0-or-later
"""Open a capture by the name that the user gave: a file, standard input, a named pipe, a folder or a pattern of files."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from pybridge.errors import CaptureError
from pybridge.wireshark import mergecap
from pybridge.wireshark.capture_source import (
    STANDARD_INPUT,
    CaptureSource,
    SourceKind,
    check_standard_input,
    kind_of,
    label_of,
)

COPY_BLOCK = 1 << 20


@contextmanager
def open_source(source: str | tuple[str, ...]) -> Iterator[CaptureSource]:
    """Open a capture so that it can be read more than once, as long as the context lasts.

    Standard input and named pipes are copied to a temporary file. A folder stands for the files in it, a pattern
    (`ring/*.pcapng`) for the files that it matches, several names for these files; they are merged by time.

    Raises
    ------
    CaptureError
        None of many files can be read; or there is nothing to copy, or no room for the copy.

    Warns
    -----
    CutShortWarning, LeftOutWarning, NotCaptureWarning, SameFileWarning
        As `mergecap.open_merged`.
    """
    if not isinstance(source, str):
        with mergecap.open_merged(source) as merged:
            yield merged
        return
    kind = kind_of(source)
    if kind in (SourceKind.FOLDER, SourceKind.PATTERN):
        with mergecap.open_merged(source) as merged:
            yield merged
    elif kind in (SourceKind.STANDARD_INPUT, SourceKind.PIPE):
        if kind is SourceKind.STANDARD_INPUT:
            check_standard_input()
        with tempfile.TemporaryDirectory(prefix="pybridge-") as folder:
            copy = os.path.join(folder, "capture")
            _copy(source, copy)
            yield CaptureSource(label_of(source), copy)
    else:
        yield CaptureSource(source, source)


def _copy(source: str, copy: str) -> None:
    given = source == STANDARD_INPUT
    try:
        with open(0 if given else source, "rb", closefd=not given) as pipe, open(copy, "wb") as file:
            shutil.copyfileobj(pipe, file, COPY_BLOCK)
    except OSError as error:
        where = tempfile.gettempdir()
        raise CaptureError(
            f"{label_of(source)} cannot be copied to {where} ({error.strerror}): save the capture to a file, and name that."
        ) from None
