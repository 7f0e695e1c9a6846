# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands and their options.

Commands import modules that need pandas themselves, because pandas takes longer to load than most captures take to read.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import NoReturn

import click
import pyarrow as pa
from tqdm import tqdm

from pybridge import atomic_file, examples
from pybridge.cli.process import ERROR, FINDINGS, Diagnostics, run, say, show, stopping
from pybridge.engine import ENGINES, EngineName, Run, open_run
from pybridge.errors import CaptureError, CutShortWarning, OutputError, PybridgeError
from pybridge.live.monitor import Limits
from pybridge.report.language import LANGUAGES, Language
from pybridge.tables import batches, schema, writers
from pybridge.version import __version__
from pybridge.wireshark import plugin_files
from pybridge.wireshark.capture_source import STANDARD_INPUT, is_many, label_of
from pybridge.wireshark.installation import tshark_version

FORMATS = ("table", "csv", "json", "jsonl", "parquet", "arrow")
BINARY = ("parquet", "arrow")

FILES = click.argument("sources", nargs=-1, required=True, metavar="FILE...")
ENGINE = click.option(
    "--engine",
    type=click.Choice(ENGINES),
    default="python",
    show_default=True,
    help="Implementation: the Python annotator, or the Lua plugin run by tshark.",
)
FORMAT = click.option("--format", "form", type=click.Choice(FORMATS), help="Default: by OUT's ending, else table.")
OUT = click.option("-o", "--output", "out", type=click.Path(path_type=Path), help="Write to this file, not to standard output.")
LANGUAGE = click.option(
    "--language", type=click.Choice(LANGUAGES), default="en", show_default=True, help="Language of the texts: English or Chinese."
)

Blocks = Iterator[pa.RecordBatch]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pybridge")
def cli() -> None:
    """TCP handshakes and teardowns of captures: who opened, who closed, who refused, where it stalled.

    FILE is any capture that Wireshark reads, or - for standard input. A folder or a quoted pattern ('ring/*.pcapng') is one
    capture made of many files.
    """


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the `pybridge` command, and exit."""
    run(cli, arguments)


@cli.command("segments")
@FILES
@ENGINE
@FORMAT
@OUT
@click.pass_obj
def segments_command(
    diagnostics: Diagnostics, sources: tuple[str, ...], engine: EngineName, form: str | None, out: Path | None
) -> int:
    """Print a row per TCP segment: its role, its step, the states after it, its anomalies."""
    return _write_table(diagnostics, sources, engine, form, out, (schema.SEGMENTS, schema.SEGMENTS_OF_MANY), Run.segments)


@cli.command("connections")
@FILES
@ENGINE
@FORMAT
@OUT
@click.pass_obj
def connections_command(
    diagnostics: Diagnostics, sources: tuple[str, ...], engine: EngineName, form: str | None, out: Path | None
) -> int:
    """Print a row per connection: how it opened and closed, by whom, how fast."""
    schemas = (schema.CONNECTIONS, schema.CONNECTIONS_OF_MANY)
    return _write_table(diagnostics, sources, engine, form, out, schemas, Run.connections)


def _write_table(
    diagnostics: Diagnostics,
    sources: tuple[str, ...],
    engine: EngineName,
    form: str | None,
    out: Path | None,
    schemas: tuple[pa.Schema, pa.Schema],
    choose: Callable[[Run], Blocks],
) -> int:
    """Write one of the tables; return the exit status."""
    many = _is_many(sources)
    form = form or _format_of(out)
    if out is None and form in BINARY and sys.stdout.isatty():
        raise OutputError(f"{form.capitalize()} is not for a terminal: add -o FILE.{form}.")
    # A table that is printed as it comes needs no other sign of progress.
    progress = False if out is None and form != "table" and sys.stdout.isatty() else None

    def blocks(source: str) -> Blocks:
        with open_run(source, engine, progress=progress) as opened:
            yield from choose(opened)

    failed = []

    def or_skipped(source: str) -> Blocks:
        try:
            yield from batches.named(source, blocks(source))
        except CaptureError as error:
            say(str(error))
            failed.append(source)

    with nullcontext() if out is None else atomic_file.replacing(out) as target:
        if len(sources) == 1:
            _write(blocks(sources[0]), schemas[many], form, target)
        else:
            several = chain.from_iterable(map(or_skipped, sources))
            _write(several, schema.with_capture(schemas[0]), form, target)
    return ERROR if failed else diagnostics.status if many else 0


def _is_many(sources: Sequence[str]) -> bool:
    """Whether the user names one capture made of many files."""
    if sources.count(STANDARD_INPUT) > 1:
        raise click.UsageError("Standard input can be read only once: name - once.")
    many = any(map(is_many, sources))
    if many and len(sources) > 1:
        raise click.UsageError("A folder or a pattern is one capture made of many files: name it alone.")
    return many


def _format_of(out: Path | None) -> str:
    """Return the format that the file's ending asks for, else `table`."""
    ending = out.suffix.removeprefix(".").lower() if out else ""
    return ending if ending in FORMATS else "table"


def _write(blocks: Blocks, table_schema: pa.Schema, form: str, target: Path | None) -> None:
    """Write a table to a file, or to standard output."""
    if form in BINARY:
        write = writers.write_parquet if form == "parquet" else writers.write_arrow
        write(blocks, table_schema, target or sys.stdout.buffer)
        return
    from pybridge.cli.table_text import print_table
    from pybridge.tables.text_writers import WRITERS

    stream = target.open("w", encoding="utf-8", newline="") if target else sys.stdout
    try:
        WRITERS.get(form, print_table)(blocks, table_schema, stream)
    finally:
        if target:
            stream.close()


@cli.command("verify")
@click.argument("sources", nargs=-1, required=True, metavar="FILE_OR_FOLDER...")
def verify_command(sources: tuple[str, ...]) -> int:
    """Annotate with both engines, and print every column in which they differ.

    Exit status 0 if all agree, 1 if some differ, 2 if a file could not be read.
    """
    from pybridge import verification

    found = [path for source in sources for path in verification.captures(source)]
    agreed = differing = unread = 0
    bar = tqdm(found, desc="verify", unit=" captures", delay=1, disable=not sys.stderr.isatty(), leave=False)
    for source in bar:
        try:
            disagreements = verification.verify(source, progress=False if len(found) > 1 else None)
        except PybridgeError as error:
            say(str(error))
            unread += 1
            continue
        for row in disagreements.itertuples(index=False):
            where = f"connection {row.stream}" if row.table == "connections" else f"frame {row.frame}"
            show(f"{source}: {row.table}: {where}: {row.column}: python {row.python!r}, plugin {row.plugin!r}")
        agreed, differing = agreed + disagreements.empty, differing + (not disagreements.empty)
    click.echo(f"{agreed} agree, {differing} differ, {unread} could not be read.")
    return ERROR if unread else FINDINGS if differing else 0


@cli.command("report")
@FILES
@click.option("-o", "--output", "out", type=click.Path(path_type=Path), default=Path("report.html"), show_default=True)
@ENGINE
@LANGUAGE
@click.option(
    "--names",
    is_flag=True,
    help="Show the names of servers that the capture holds (TLS SNI, HTTP Host, DNS). tshark reads it a second time and dissects "
    "it in full: a third more time or more.",
)
@click.pass_obj
def report_command(
    diagnostics: Diagnostics, sources: tuple[str, ...], out: Path, engine: EngineName, language: Language, names: bool
) -> int:
    """Print a summary, and write a page with the connections and sequence diagrams, failed and unusual ones first."""
    from pybridge import capture

    if names and len(sources) > 1:
        raise click.UsageError("--names needs a single capture: name one file, or a folder of files that are one capture.")
    if names and sources[0] == "-":
        raise click.UsageError("--names reads the capture twice, and standard input can be read only once: save it to a file.")
    many = _is_many(sources)
    with atomic_file.replacing(out) as temporary, ThreadPoolExecutor(1) as pool:
        pool.submit(import_module, "pybridge.report.page")  # while tshark works
        if out.exists():
            say(f"{out} exists: it is replaced when the new one is complete.")
        with warnings.catch_warnings(record=True) as caught:
            if len(sources) == 1:
                read = capture.read(sources[0], engine)
                title, tables = Path(label_of(sources[0])).name, (read.segments, read.connections)
                if names:
                    tables = (read.segments, read.connections.assign(server_name=read.names()))
            else:
                title, tables = f"{len(sources)} captures", capture.read_all(sources, engine)
        for warning in caught:
            warnings.showwarning(warning.message, warning.category, warning.filename, warning.lineno)
        from pybridge.cli.summary_text import print_summary
        from pybridge.report import page
        from pybridge.report.summary import numbered, summary

        if len(sources) > 1:
            tables = numbered(*tables)
        facts = summary(*tables)
        text = page.render(
            *tables,
            facts=facts,
            title=title,
            versions={"pybridge": __version__, "tshark": str(tshark_version()), "engine": engine},
            notes=[str(warning.message) for warning in caught if issubclass(warning.category, CutShortWarning)],
            language=language,
        )
        temporary.write_text(text, encoding="utf-8")
    print_summary(facts, title)
    say(f"report written to {out}")
    return diagnostics.status if many else 0


@cli.command("live")
@click.argument("source", metavar="INTERFACE")
@click.option("--filter", "bpf", default="", metavar="BPF", help="Capture filter, e.g. 'tcp port 443'.")
@click.option(
    "--format",
    "form",
    type=click.Choice(("events", "csv")),
    default="events",
    show_default=True,
    help="Print events as they happen, or a CSV row for each connection when it is forgotten.",
)
@click.option(
    "--answer-timeout",
    default=Limits.answer_timeout,
    show_default=True,
    metavar="SECONDS",
    help="Count an opening without answer as failed after SECONDS.",
)
@click.option(
    "--close-timeout",
    default=Limits.close_timeout,
    show_default=True,
    metavar="SECONDS",
    help="Forget a closed connection after SECONDS.",
)
@click.option(
    "--idle-timeout",
    default=Limits.idle_timeout,
    show_default=True,
    metavar="SECONDS",
    help="Forget an idle connection after SECONDS.",
)
@click.option(
    "--max-connections",
    default=Limits.max_connections,
    show_default=True,
    metavar="N",
    help="Track at most N connections.",
)
def live_command(
    source: str,
    bpf: str,
    form: str,
    answer_timeout: float,
    close_timeout: float,
    idle_timeout: float,
    max_connections: int,
) -> None:
    """Print handshakes, failures and closes as they happen, until Ctrl-C; then a table by server.

    INTERFACE may also be - for standard input (ssh host tcpdump -U -w - | pybridge live -), a named pipe, or a file.
    """
    from pybridge.cli import live_view

    limits = Limits(
        answer_timeout=answer_timeout,
        close_timeout=close_timeout,
        idle_timeout=idle_timeout,
        max_connections=max_connections,
    )
    if form == "events":
        live_view.follow(source, bpf, limits, stopping)
        return
    _write(live_view.rows(source, bpf, limits, stopping), schema.CONNECTIONS, "csv", None)


@cli.command("ladder")
@click.argument("source", metavar="FILE")
@click.argument("stream", type=int)
@OUT
@ENGINE
@LANGUAGE
def ladder_command(source: str, stream: int, out: Path | None, engine: EngineName, language: Language) -> None:
    """Draw the sequence diagram of connection STREAM (Wireshark's tcp.stream) as SVG."""
    from pybridge import capture

    with nullcontext() if out is None else atomic_file.replacing(out) as target:
        read = capture.read(source, engine)
        if stream not in read.connections.index:
            raise CaptureError(f"{label_of(source)} has no connection {stream}: pybridge connections lists them.")
        svg = read.ladder(stream, language=language)
        if target:
            target.write_text(svg, encoding="utf-8")
        else:
            click.echo(svg)


@cli.command("notebook")
@click.option("-o", "--output", "out", type=click.Path(path_type=Path), default=Path("explore.ipynb"), show_default=True)
def notebook_command(out: Path) -> None:
    """Copy the example notebook to this folder; open it in Jupyter."""
    if out.exists():
        raise OutputError(f"{out} exists: name another file with -o.")
    with atomic_file.replacing(out) as temporary:
        temporary.write_bytes(examples.notebook().read_bytes())
    click.echo(out)
    say("open it with: jupyter lab " + str(out) + " (pip install jupyterlab ipywidgets)")


@cli.group("plugin")
def plugin_group() -> None:
    """Install the Wireshark plugin, or remove it."""


@plugin_group.command("install")
def plugin_install() -> None:
    """Copy the plugin and its profile into Wireshark's personal folders, and check that tshark loads the plugin."""
    click.echo(plugin_files.install())
    click.echo(plugin_files.install_profile())
    loaded = plugin_files.check()
    say(f"tshark {tshark_version()} loads version {loaded}; for its columns and colours: wireshark -C '{plugin_files.PROFILE}'.")


@plugin_group.command("uninstall")
def plugin_uninstall() -> None:
    """Remove the plugin and its profile from Wireshark's personal folders."""
    removed = plugin_files.uninstall()
    for path in removed:
        click.echo(path)
    if not removed:
        say("the plugin is not installed.")


@plugin_group.command("profile")
@click.option("-o", "--output", default=f"{plugin_files.PROFILE}.zip", show_default=True, type=Path, help="The file to write.")
def plugin_profile(output: Path) -> None:
    """Write the profile as a zip file for Edit > Configuration Profiles > Import."""
    plugin_files.pack_profile(output)
    click.echo(output)


@plugin_group.command("path")
def plugin_path() -> None:
    """Print the path of the plugin's file, for tshark -X lua_script:FILE."""
    click.echo(plugin_files.path())
    if plugin_files.is_stale():
        say(f"{plugin_files.installed()} is another version: run pybridge plugin install.")
