# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands `summary`, `report` and `ladder`: what people read about a capture."""

from __future__ import annotations

import sys
import warnings
import webbrowser
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pybridge import atomic_file
from pybridge.cli.options import CAPTURE_PATH, EACH, ENGINE, FILES, LANGUAGE, captures_of, check_ending, ending, out_option
from pybridge.cli.process import Diagnostics, say
from pybridge.engine import EngineName, open_run
from pybridge.errors import CaptureError, CutShortWarning, UnrelatedFilesWarning
from pybridge.progress import counting
from pybridge.report.language import Language
from pybridge.version import __version__
from pybridge.wireshark.capture_source import STANDARD_INPUT, is_many, label_of
from pybridge.wireshark.installation import tshark_version
from pybridge.wireshark.packet_comments import write_commented
from pybridge.wireshark.sources import open_source

if TYPE_CHECKING:
    import pandas as pd

    from pybridge.report.ladder.drawing import Ladder


LADDER_FORMS = ("svg", "txt", "mmd", "puml")
"""As `report.ladder.drawing.FORMS`, known before pandas is loaded."""

LADDER_STYLES = {"": "", "bold": "bold", "role": "bold blue", "problem": "bold red", "small": "dim"}


@click.command("summary")
@FILES
@EACH
@ENGINE
@LANGUAGE
@click.pass_obj
def summary_command(
    diagnostics: Diagnostics, sources: tuple[str, ...], each: bool | None, engine: EngineName, language: Language
) -> int:
    """Print a summary: what opened and failed, the slowest handshakes, anomalies. pybridge FILE is short for it."""
    captures = captures_of(sources, each)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(import_module, "pybridge.report.summary")  # while tshark works
        title, segments, connections = _read(captures, engine)
    from pybridge.cli.summary_text import print_summary
    from pybridge.report.summary import summary

    with counting("summary"):
        facts = summary(segments, connections)
    print_summary(facts, title, language)
    return diagnostics.status if any(map(is_many, sources)) else 0


@click.command("report")
@FILES
@EACH
@out_option(Path("report.html"), "The page to write.")
@click.option("--open", "opening", is_flag=True, help="Open the page in the browser.")
@click.option(
    "--names",
    is_flag=True,
    help="Show the names of servers that the capture holds (TLS SNI, HTTP Host, DNS). tshark reads it a second time and dissects "
    "it in full: a third more time or more.",
)
@ENGINE
@LANGUAGE
@click.pass_obj
def report_command(
    diagnostics: Diagnostics,
    sources: tuple[str, ...],
    each: bool | None,
    out: Path,
    opening: bool,
    names: bool,
    engine: EngineName,
    language: Language,
) -> int:
    """Print a summary, and write a page with the connections and sequence diagrams, failed and unusual ones first."""
    captures = captures_of(sources, each)
    check_ending(out, ("html", "htm"))
    if names and len(captures) > 1:
        raise click.UsageError("--names needs a single capture: name one file, or a folder of files that are one capture.")
    if names and captures[0] == STANDARD_INPUT:
        raise click.UsageError("--names reads the capture twice, and standard input can be read only once: save it to a file.")
    with atomic_file.replacing(out) as temporary, ThreadPoolExecutor(1) as pool:
        pool.submit(import_module, "pybridge.report.page")  # while tshark works
        if out.exists():
            say(f"{out} exists: it is replaced when the new one is complete.")
        with warnings.catch_warnings(record=True) as caught:
            title, segments, connections = _read(captures, engine, names=names)
        for warning in caught:
            warnings.showwarning(warning.message, warning.category, warning.filename, warning.lineno)
        from pybridge.cli.summary_text import print_summary
        from pybridge.report import page
        from pybridge.report.summary import summary

        with counting("drawing the page"):
            facts = summary(segments, connections)
            text = page.render(
                segments,
                connections,
                facts=facts,
                title=title,
                versions={"pybridge": __version__, "tshark": str(tshark_version()), "engine": engine},
                notes=[str(warning.message) for warning in caught if issubclass(warning.category, CutShortWarning)],
                language=language,
            )
            temporary.write_text(text, encoding="utf-8")
    print_summary(facts, title, language)
    say(f"report written to {out}")
    if opening and not webbrowser.open(out.absolute().as_uri()):
        say(f"no browser could be started: open {out} in one yourself.")
    return diagnostics.status if any(map(is_many, sources)) else 0


def _read(sources: Sequence[str], engine: EngineName, *, names: bool = False) -> tuple[str, pd.DataFrame, pd.DataFrame]:
    """Return a title, and the tables of one capture or of several; with `names` also the column `server_name`."""
    from pybridge import capture

    if len(sources) == 1:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnrelatedFilesWarning)  # --merge says so
            read = capture.read(sources[0], engine)
        connections = read.connections
        if names:
            with counting("names of servers"):
                connections = connections.assign(server_name=read.names())
        return Path(label_of(sources[0])).name, read.segments, connections
    tables = capture.read_all(sources, engine)
    from pybridge.report.summary import numbered

    return f"{len(sources)} captures", *numbered(*tables)


@click.command("annotate")
@click.argument("source", metavar="FILE", type=CAPTURE_PATH)
@click.option("-o", "--output", "out", type=click.Path(path_type=Path), required=True, help="The pcapng file to write.")
@ENGINE
def annotate_command(source: str, out: Path, engine: EngineName) -> None:
    """Write the capture as pcapng with comments on packets: role, step, anomaly and states; any Wireshark shows them."""
    from pybridge import capture

    check_ending(out, ("pcapng", "ntar"))
    with open_source(source) as opened, atomic_file.replacing(out) as temporary:
        with open_run(opened, engine) as run:
            read = capture.capture_of(run)
        from pybridge.report.comments import comments

        with counting("writing comments"), temporary.open("wb") as stream:
            write_commented(opened, comments(read.segments, read.connections), stream)


@click.command("ladder")
@click.argument("source", metavar="FILE", type=CAPTURE_PATH)
@click.argument("stream", type=int)
@out_option()
@ENGINE
@LANGUAGE
def ladder_command(source: str, stream: int, out: Path | None, engine: EngineName, language: Language) -> None:
    """Draw the sequence diagram of connection STREAM (Wireshark's tcp.stream).

    On a terminal it is drawn there, as wide as the terminal is. Into a pipe it is SVG; into a file it is what OUT's ending says:
    .svg, .txt, .mmd (Mermaid) or .puml (PlantUML).
    """
    from pybridge import capture

    check_ending(out, LADDER_FORMS)
    with nullcontext() if out is None else atomic_file.replacing(out) as target:
        read = capture.read(source, engine)
        if stream not in read.connections.index:
            raise CaptureError(f"{label_of(source)} has no connection {stream}: pybridge connections lists them.")
        ladder = read.ladder(stream, language=language)
        if target:
            target.write_text(ladder.written(ending(out) or "svg"), encoding="utf-8")
        elif sys.stdout.isatty():
            _print_ladder(ladder)
        else:
            click.echo(ladder)


def _print_ladder(ladder: Ladder) -> None:
    from rich.text import Text

    from pybridge.cli.console import console_for

    console = console_for(sys.stdout)
    for line in ladder.lines(console.width):
        pieces = ((piece.text, LADDER_STYLES[piece.style]) for piece in line)
        console.print(Text.assemble(*pieces, no_wrap=True), soft_wrap=True)
