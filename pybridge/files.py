# SPDX-License-Identifier: GPL-2.0-or-later
"""Writing a file whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pybridge.errors import OutputError


@contextmanager
def writing(target: Path) -> Iterator[Path]:
    """A temporary file beside `target` that takes its place when the block ends well, and vanishes when it does not.

    Raises
    ------
    OutputError
        The folder is missing or not writable, or the disk is full.
    """
    try:
        if target.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        os.close(descriptor)
    except OSError as error:
        raise OutputError(f"{target} cannot be written ({error.strerror}): choose another place.") from None
    temporary = Path(name)
    try:
        yield temporary
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        os.replace(temporary, target)
    except OSError as error:
        raise OutputError(f"{target} cannot be written ({error.strerror}): choose another place.") from None
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()
