# SPDX-License-Identifier: GPL-2.0-or-later
"""Arguments and options that several commands have, and the checks of their values."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import click

from pybridge.engine import ENGINES
from pybridge.errors import OutputError
from pybridge.report.language import LANGUAGES
from pybridge.wireshark.capture_source import STANDARD_INPUT, is_many

CAPTURE_PATH = click.Path(allow_dash=True)
"""Lets the shell complete the names of files; `CaptureSource` checks them."""

FILES = click.argument("sources", nargs=-1, required=True, metavar="FILE...", type=CAPTURE_PATH)
ENGINE = click.option(
    "--engine",
    type=click.Choice(ENGINES),
    default="python",
    show_default=True,
    help="Implementation: the Python annotator, or the Lua plugin run by tshark.",
)
LANGUAGE = click.option(
    "--language", type=click.Choice(LANGUAGES), default="en", show_default=True, help="Language of the texts: English or Chinese."
)


def out_option(default: Path | None = None, text: str = "Write to this file, not to standard output.") -> Callable[..., Any]:
    """Return the option `-o` of a command."""
    file = click.Path(path_type=Path, dir_okay=True)
    return click.option("-o", "--output", "out", type=file, default=default, show_default=default is not None, help=text)


def is_many_files(sources: Sequence[str]) -> bool:
    """Whether the user names one capture made of many files."""
    if sources.count(STANDARD_INPUT) > 1:
        raise click.UsageError("Standard input can be read only once: name - once.")
    many = any(map(is_many, sources))
    if many and len(sources) > 1:
        raise click.UsageError("A folder or a pattern is one capture made of many files: name it alone.")
    return many


def ending(out: Path | None) -> str:
    """Return the ending of a file's name in lower case and without its dot; empty if there is none."""
    return out.suffix.removeprefix(".").lower() if out else ""


def check_ending(out: Path | None, endings: Collection[str]) -> None:
    """Raise `OutputError` if the name of the output ends otherwise; a name without an ending passes."""
    if out and ending(out) and ending(out) not in endings:
        known = ", ".join(f".{name}" for name in endings)
        raise OutputError(f"{out} has an ending that stands for no format of this command: choose from {known}.")
