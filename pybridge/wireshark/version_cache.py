# SPDX-License-Identifier: GPL-2.0-or-later
"""Remember the version of a program from one run to the next: asking it takes as long as reading a small capture."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path

from platformdirs import user_cache_path

from pybridge.atomic_file import replacing
from pybridge.errors import OutputError


def remembered(program: str, ask: Callable[[str], str]) -> str:
    """Return the version of a program; ask it only if its file has changed since it was asked last.

    A script is always asked: the program that it starts can change while the script stays the same.
    """
    state = _state(program)
    if state is None:
        return ask(program)
    file = user_cache_path("pybridge", appauthor=False) / "tshark-version.json"
    with contextlib.suppress(OSError, ValueError):
        known = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(known, dict) and known.get("state") == state and isinstance(known.get("version"), str):
            return str(known["version"])
    version = ask(program)
    with contextlib.suppress(OSError, OutputError):  # then it is asked again the next time
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as temporary:
            temporary.write_text(json.dumps({"state": state, "version": version}), encoding="utf-8")
    return version


def _state(program: str) -> list[str | int] | None:
    """Return what tells one state of a program's file from another; None for a script."""
    try:
        path = Path(program).resolve(strict=True)
        with path.open("rb") as opened:
            if opened.read(2) == b"#!":
                return None
        found = os.stat(path)
    except OSError:
        return None
    return [str(path), found.st_size, found.st_mtime_ns]
