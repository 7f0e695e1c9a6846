# SPDX-License-Identifier: GPL-2.0-or-later
"""Arguments and options that several commands have, and the checks of their values."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from pybridge.cli.process import say
from pybridge.engine import ENGINES
from pybridge.errors import OutputError
from pybridge.progress import counting
from pybridge.report.language import LANGUAGES
from pybridge.wireshark import mergecap, rings
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


EACH = click.option(
    "--each/--merge",
    default=None,
    help="Read the files of a folder or pattern each by itself, or as one capture. Default: one if names and times follow on.",
)


def out_option(default: Path | None = None, text: str = "Write to this file, not to standard output.") -> Callable[..., Any]:
    """Return the option `-o` of a command."""
    file = click.Path(path_type=Path, dir_okay=True)
    return click.option("-o", "--output", "out", type=file, default=default, show_default=default is not None, help=text)


def captures_of(sources: Sequence[str], each: bool | None) -> list[str]:
    """Return the captures that the user names: folders and patterns of one capture as they are, those of many as their files.

    Parameters
    ----------
    each : bool, optional
        Whether every file is a capture by itself; by default the names and the times of the files decide.
    """
    if sources.count(STANDARD_INPUT) > 1:
        raise click.UsageError("Standard input can be read only once: name - once.")
    found: list[str] = []
    for source in sources:
        found += _files_of(source, each) if is_many(source) and each is not False else [source]
    if len(found) > 1 and any(map(is_many, found)):
        raise click.UsageError("A folder or a pattern that is one capture must be named alone; --each reads each of its files.")
    return found


def _files_of(source: str, each: bool | None) -> list[str]:
    """Return the files of a folder or pattern if they are unrelated captures, else only its name; say what was taken."""
    with ExitStack() as stack:
        with counting(f"looking at {source}"):
            survey = stack.enter_context(mergecap.surveyed(mergecap.names_in(source)))
        reason = rings.unrelated(survey.files)
        count = len(survey.files)
        if count < 2 or not (each or reason):
            if count > 1:
                say(f"{source}: its {count} files follow on, and are read as one capture (--each reads each by itself).")
            return [source]
        if not each:
            say(f"{source}: its {count} files are read as a capture each, because {reason} (--merge makes them one).")
        mergecap.warn_left_out(source, survey)
        return [file.name for file in survey.files]


def ending(out: Path | None) -> str:
    """Return the ending of a file's name in lower case and without its dot; empty if there is none."""
    return out.suffix.removeprefix(".").lower() if out else ""


def check_ending(out: Path | None, endings: Collection[str]) -> None:
    """Raise `OutputError` if the name of the output ends otherwise; a name without an ending passes."""
    if out and ending(out) and ending(out) not in endings:
        known = ", ".join(f".{name}" for name in endings)
        raise OutputError(f"{out} has an ending that stands for no format of this command: choose from {known}.")
