# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line: data on standard output, everything else on standard error; 0 done, 1 findings, 2 error.

What needs pandas is imported by the commands that need it: it takes longer to load than most captures take to read.
"""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from importlib import import_module
from itertools import chain
from pathlib import Path
from types import FrameType
from typing import NoReturn, TextIO

import click
import pyarrow as pa
from tqdm import tqdm

from pybridge import atomic_file
from pybridge.engine import ENGINES, Engine, EngineName, annotate, engine_by_name
from pybridge.errors import CaptureError, CutShortWarning, LeftOutWarning, OutputError, PybridgeError
from pybridge.live.monitor import Limits
from pybridge.report.language import LANGUAGES, Language
from pybridge.tables import batches, file_origins
from pybridge.tables.file_origins import Alone, Origins
from pybridge.tcp.model import Annotation, Segment
from pybridge.text import printable
from pybridge.version import __version__
from pybridge.wireshark import mergecap, plugin_files, tshark

FINDINGS, ERROR = 1, 2
FORMATS = ("table", "csv", "json", "jsonl", "parquet", "arrow")
BINARY = ("parquet", "arrow")
INTERRUPTED = 128 + signal.SIGINT

_said: set[type[Warning]] = set()  # categories of the warnings that were shown


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Entry point of the `pybridge` command."""
    warnings.showwarning = _show_warning
    # A segment is a few tuples and no cycle: by default a quarter of the time goes into looking for some.
    gc.set_threshold(100_000)
    _catch_signals()
    _keep_standard_streams()
    try:
        context = cli.make_context("pybridge", list(sys.argv[1:] if arguments is None else arguments))
        with context:
            status = cli.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as end:  # --help, --version
        status = end.exit_code
    except click.ClickException as error:
        error.show()
        status = ERROR
    except PybridgeError as error:
        _say(str(error))
        status = ERROR
    except BrokenPipeError:  # the reader has seen enough
        _forget_output()
        status = 0
    except (KeyboardInterrupt, click.Abort):
        _say("Interrupted.")
        status = INTERRUPTED
    except OSError as error:
        _forget_output()
        where = f"{os.fsdecode(error.filename)} cannot be used" if error.filename else "The output cannot be written"
        _say(f"{where} ({error.strerror or error}): free some space, check permissions, or choose another place.")
        status = ERROR
    gc.freeze()  # what is left goes with the process: no last search for cycles, which takes as long as a small capture
    sys.exit(status or 0)


def _catch_signals() -> None:
    """Being ended is an exception, so that tshark is ended and files are removed; once, so that this is not cut short."""

    def end(number: int, _: FrameType | None) -> None:
        for name in caught:
            signal.signal(name, signal.SIG_IGN)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        sys.exit(128 + number)

    names = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    caught = [name for name in names if signal.getsignal(name) != signal.SIG_IGN]  # as nohup and & have it
    for name in caught:
        signal.signal(name, end)


def _keep_standard_streams() -> None:
    """What the caller closed is the null device; what a stream cannot encode is escaped."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8"))  # noqa: SIM115 - to the end
        elif name == "stdout" and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _forget_output() -> None:
    """Whatever is still to be written to standard output cannot be."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(text: str) -> None:
    _show(f"pybridge: {text}", err=True)


def _show(text: str, *, err: bool = False) -> None:
    with tqdm.external_write_mode():  # not into the middle of a progress bar
        click.echo(printable(text), err=err)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    if issubclass(category, UserWarning):
        _said.add(category)
        _say(str(message))


def _status_of_many() -> int:
    """Of a command on a capture made of many files: 2 if one of them, or the end of one, is missing from its result."""
    return ERROR if _said & {LeftOutWarning, CutShortWarning} else 0


FILES = click.argument("sources", nargs=-1, required=True, metavar="FILE...")
ENGINE = click.option("--engine", type=click.Choice(ENGINES), default="python", show_default=True, help="Who annotates.")
FORMAT = click.option("--format", "form", type=click.Choice(FORMATS), help="Default: by OUT's ending, else table.")
OUT = click.option("-o", "--output", "out", type=click.Path(path_type=Path), help="Write to this file, not to standard output.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pybridge")
def cli() -> None:
    """TCP handshakes and teardowns of captures: who opened, who closed, who refused, where it stalled.

    FILE is any capture that Wireshark reads, or - for standard input. A folder or a quoted pattern ('ring/*.pcapng') is one
    capture made of many files.
    """


Blocks = Iterator[pa.RecordBatch]
Choose = Callable[[Engine, Iterator[list[tuple[Segment, Annotation]]], Origins | Alone], Blocks]


def _table_command(name: str, help_text: str, schema: pa.Schema, schema_of_many: pa.Schema, choose: Choose) -> None:
    @cli.command(name, help=help_text)
    @FILES
    @ENGINE
    @FORMAT
    @OUT
    def command(sources: tuple[str, ...], engine: EngineName, form: str | None, out: Path | None) -> int:
        many = _is_many(sources)
        form = form or _format_of(out)
        if out is None and form in BINARY and sys.stdout.isatty():
            raise OutputError(f"{form.capitalize()} is not for a terminal: add -o FILE.{form}.")
        # What is printed as it comes shows progress enough.
        progress = False if out is None and form != "table" and sys.stdout.isatty() else None

        def blocks(source: str) -> Blocks:
            judge = engine_by_name(engine)
            with mergecap.opened(source) as opened, closing(annotate(judge, opened, progress=progress)) as annotated:
                yield from choose(judge, annotated, file_origins.of(opened))

        failed = []

        def others_done(source: str, its_blocks: Blocks) -> Blocks:
            try:
                yield from its_blocks
            except CaptureError as error:
                _say(str(error))
                failed.append(source)

        with _target(out) as target:
            if len(sources) == 1:
                _write(blocks(sources[0]), schema_of_many if many else schema, form, target)
            else:
                several = chain.from_iterable(others_done(source, batches.named(source, blocks(source))) for source in sources)
                _write(several, batches.with_capture(schema), form, target)
        return ERROR if failed else _status_of_many() if many else 0


def _is_many(sources: Sequence[str]) -> bool:
    """Whether this is one capture made of many files."""
    if sources.count(tshark.STANDARD_INPUT) > 1:
        raise click.UsageError("Standard input can be read only once: name - once.")
    many = any(map(mergecap.is_many, sources))
    if many and len(sources) > 1:
        raise click.UsageError("A folder or a pattern is one capture made of many files: name it alone.")
    return many


def _format_of(out: Path | None) -> str:
    """The format that the file's ending asks for, else `table`."""
    ending = out.suffix.removeprefix(".").lower() if out else ""
    return ending if ending in FORMATS else "table"


def _write(blocks: Blocks, schema: pa.Schema, form: str, target: Path | None) -> None:
    if form in BINARY:
        write = batches.write_parquet if form == "parquet" else batches.write_arrow
        write(blocks, schema, target or sys.stdout.buffer)
        return
    from pybridge.cli import output

    output.write(blocks, schema, form, target)


def _segments(_: Engine, annotated: Iterator[list[tuple[Segment, Annotation]]], rows: Origins | Alone) -> Blocks:
    return rows.segments(annotated)


def _connections(engine: Engine, annotated: Iterator[list[tuple[Segment, Annotation]]], rows: Origins | Alone) -> Blocks:
    deque(rows.passing(annotated), maxlen=0)
    return rows.connections(engine.rows())


_table_command(
    "segments",
    "A row per TCP segment: its role, step, the states after it, what is unusual.",
    batches.SEGMENTS,
    batches.SEGMENTS_OF_MANY,
    _segments,
)
_table_command(
    "connections",
    "A row per connection: how it opened and closed, by whom, how fast.",
    batches.CONNECTIONS,
    batches.CONNECTIONS_OF_MANY,
    _connections,
)


@contextmanager
def _target(out: Path | None) -> Iterator[Path | None]:
    """Where to write; said before the work begins if it cannot be."""
    if out is None:
        yield None
        return
    with atomic_file.writing(out) as temporary:
        yield temporary


@cli.command()
@click.argument("sources", nargs=-1, required=True, metavar="FILE_OR_FOLDER...")
def verify(sources: tuple[str, ...]) -> int:
    """Annotate with both engines and compare every column.

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
            _say(str(error))
            unread += 1
            continue
        for row in disagreements.itertuples(index=False):
            where = f"connection {row.stream}" if row.table == "connections" else f"frame {row.frame}"
            text = f"{source}: {row.table}: {where}: {row.column}: python {row.python!r}, plugin {row.plugin!r}"
            _show(text)
        agreed, differing = agreed + disagreements.empty, differing + (not disagreements.empty)
    click.echo(f"{agreed} agree, {differing} differ, {unread} could not be read.")
    return ERROR if unread else FINDINGS if differing else 0


LANGUAGE = click.option(
    "--language", type=click.Choice(LANGUAGES), default="en", show_default=True, help="Of what is drawn and said."
)


@cli.command("report")
@FILES
@click.option("-o", "--output", "out", type=click.Path(path_type=Path), default=Path("report.html"), show_default=True)
@ENGINE
@LANGUAGE
def report_command(sources: tuple[str, ...], out: Path, engine: EngineName, language: Language) -> int:
    """Summary on the terminal, and a page with every connection and its sequence diagram."""
    from pybridge import capture

    many = _is_many(sources)
    with atomic_file.writing(out) as temporary, ThreadPoolExecutor(1) as pool:
        pool.submit(import_module, "pybridge.report")  # while tshark works
        if out.exists():
            _say(f"{out} exists: it is replaced when the new one is complete.")
        with warnings.catch_warnings(record=True) as caught:
            if len(sources) == 1:
                read = capture.read(sources[0], engine)
                title, tables = Path(tshark.name(sources[0])).name, (read.segments, read.connections)
            else:
                title, tables = f"{len(sources)} captures", capture.read_all(sources, engine)
        for warning in caught:
            warnings.showwarning(warning.message, warning.category, warning.filename, warning.lineno)
        from pybridge.cli import output
        from pybridge.report import page
        from pybridge.report.summary import numbered, summary

        if len(sources) > 1:
            tables = numbered(*tables)
        facts = summary(*tables)
        page = page.render(
            *tables,
            facts=facts,
            title=title,
            versions={"pybridge": __version__, "tshark": str(tshark.version()), "engine": engine},
            notes=[str(warning.message) for warning in caught if issubclass(warning.category, CutShortWarning)],
            language=language,
        )
        temporary.write_text(page, encoding="utf-8")
    output.print_summary(facts, title)
    _say(f"report written to {out}")
    return _status_of_many() if many else 0


@cli.command("live")
@click.argument("source", metavar="INTERFACE")
@click.option("--filter", "bpf", default="", metavar="BPF", help="Capture filter, e.g. 'tcp port 443'.")
@click.option("--connections", is_flag=True, help="Print the row of each connection, as CSV, when it is released.")
@click.option("--answer", default=Limits.answer, show_default=True, help="Seconds until an opening without answer has failed.")
@click.option("--linger", default=Limits.linger, show_default=True, help="Seconds until one that is over is released.")
@click.option("--idle", default=Limits.idle, show_default=True, help="Seconds until any other that is silent is released.")
@click.option("--most", default=Limits.connections, show_default=True, help="So many connections are remembered at most.")
def live_command(source: str, bpf: str, connections: bool, answer: float, linger: float, idle: float, most: int) -> None:
    """Print handshakes, failures and closes as they happen, until Ctrl-C; then a table by server.

    INTERFACE may also be - for standard input (ssh host tcpdump -U -w - | pybridge live -), a named pipe, or a file.
    """
    from pybridge.cli import live_view

    limits = Limits(answer=answer, linger=linger, idle=idle, connections=most)
    if not connections:
        live_view.follow(source, bpf, limits, _stopping)
        return
    from pybridge.cli import output

    output.write(live_view.rows(source, bpf, limits, _stopping), batches.CONNECTIONS, "csv", None)


@contextmanager
def _stopping(stop: Callable[[], None]) -> Iterator[None]:
    """Let the first Ctrl-C stop a live capture, and not the program."""
    before = signal.getsignal(signal.SIGINT)

    def end(_: int, __: FrameType | None) -> None:
        signal.signal(signal.SIGINT, before)
        stop()

    if before != signal.SIG_IGN:
        signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@cli.command("ladder")
@click.argument("source", metavar="FILE")
@click.argument("stream", type=int)
@click.option("-o", "--output", "out", type=click.Path(path_type=Path), help="Write to this file, not to standard output.")
@ENGINE
@LANGUAGE
def ladder_command(source: str, stream: int, out: Path | None, engine: EngineName, language: Language) -> None:
    """The sequence diagram of connection STREAM (Wireshark's tcp.stream) as SVG."""
    from pybridge import capture

    with _target(out) as target:
        read = capture.read(source, engine)
        if stream not in read.connections.index:
            raise CaptureError(f"{tshark.name(source)} has no connection {stream}: pybridge connections lists them.")
        svg = read.ladder(stream, language=language)
        if target:
            target.write_text(svg, encoding="utf-8")
        else:
            click.echo(svg)


@cli.group("plugin")
def plugin_group() -> None:
    """The Wireshark plugin."""


@plugin_group.command("install")
def plugin_install() -> None:
    """Copy the plugin and its profile into Wireshark's personal folders, and see that it is loaded."""
    click.echo(plugin_files.install())
    click.echo(plugin_files.install_profile())
    loaded = plugin_files.check()
    _say(f"tshark {tshark.version()} loads version {loaded}; for its columns and colours: wireshark -C '{plugin_files.PROFILE}'.")


@plugin_group.command("uninstall")
def plugin_uninstall() -> None:
    """Remove the plugin and its profile from Wireshark's personal folders."""
    removed = plugin_files.uninstall()
    for path in removed:
        click.echo(path)
    if not removed:
        _say("the plugin is not installed.")


@plugin_group.command("profile")
@click.option("-o", "--output", default=f"{plugin_files.PROFILE}.zip", show_default=True, type=Path, help="The file to write.")
def plugin_profile(output: Path) -> None:
    """Write the profile as a zip file for Edit > Configuration Profiles > Import."""
    plugin_files.pack_profile(output)
    click.echo(output)


@plugin_group.command("path")
def plugin_path() -> None:
    """Print where the plugin's file is, for tshark -X lua_script:FILE."""
    click.echo(plugin_files.path())
    if plugin_files.is_stale():
        _say(f"{plugin_files.installed()} is another version: run pybridge plugin install.")
