# SPDX-License-Identifier: GPL-2.0-or-later
"""Write a file completely or not at all."""

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
    """Yield a temporary file beside `target`, which replaces it if the block succeeds, and is removed if it fails.

    Raises
    ------
    OutputError
        The folder is missing or not writable, or the disk is full.
    """
    try:
        place = Path(os.path.realpath(target))  # of a symbolic link, the file that it points to
        if place.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        mode = target.stat().st_mode if target.exists() else None
        special = mode is not None and not stat.S_ISREG(mode)  # a device or a pipe is written to, never replaced
        descriptor, name = tempfile.mkstemp(dir=None if special else place.parent, prefix=".pybridge-")
        os.close(descriptor)
    except OSError as error:
        raise OutputError(f"{target} cannot be written ({error.strerror}): choose another place.") from None
    temporary = Path(name)
    try:
        yield temporary
        if special:
            with temporary.open("rb") as written, target.open("wb") as stream:
                shutil.copyfileobj(written, stream)
            return
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask if mode is None else stat.S_IMODE(mode))
        os.replace(temporary, place)
    except OSError as error:
        raise OutputError(f"{target} cannot be written ({error.strerror}): choose another place.") from None
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()
