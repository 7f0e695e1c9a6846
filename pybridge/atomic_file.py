# SPDX-License-Identifier: GPL-2.0-or-later
"""Writing a file whole or not at all."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pybridge.errors import OutputError


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A temporary file beside `target` that takes its place when the block ends well, and vanishes when it does not.

    Raises
    ------
    OutputError
        The folder is missing or not writable, or the disk is full.
    """
    try:
        place = Path(os.path.realpath(target))  # of a link, the file that it leads to
        if place.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        kept = target.stat().st_mode if target.exists() else None
        special = kept is not None and not stat.S_ISREG(kept)  # a device or a pipe is written to, never replaced
        descriptor, name = tempfile.mkstemp(dir=None if special else place.parent, prefix=".pybridge-")
        os.close(descriptor)
    except OSError as error:
        raise OutputError(f"{target} cannot be written ({error.strerror}): choose another place.") from None
    temporary = Path(name)
    try:
        yield temporary
        if special:
            with temporary.open("rb") as made, target.open("wb") as stream:
                shutil.copyfileobj(made, stream)
            return
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask if kept is None else stat.S_IMODE(kept))
        os.replace(temporary, place)
    except OSError as error:
        raise OutputError(f"{target} cannot be written ({error.strerror}): choose another place.") from None
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()
