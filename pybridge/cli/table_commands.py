# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands `segments` and `connections`: which rows and columns, in which format, where to.

tshark starts before pyarrow is loaded, hence the imports in functions.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from importlib import import_module
from importlib.abc import MetaPathFinder
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from pybridge import atomic_file
from pybridge.cli.options import EACH, ENGINE, FILES, captures_of, check_ending, ending, out_option
from pybridge.cli.process import ERROR, Diagnostics, say
from pybridge.engine import EngineName, Run, open_run
from pybridge.errors import CaptureError, OutputError, warning_once
from pybridge.progress import counting
from pybridge.wireshark import plugin_files
from pybridge.wireshark.capture_source import is_many
from pybridge.wireshark.columns import matching_frames
from pybridge.wireshark.sources import open_source

if TYPE_CHECKING:
    import pyarrow as pa

BINARY = ("parquet", "arrow")
FORMATS = ("table", "csv", "json", "jsonl", "zeek", *BINARY)
ENDINGS = {"txt": "table", "log": "zeek"} | {name: name for name in FORMATS if name not in ("table", "zeek")}
"""Formats by the ending of the output's name."""

Blocks = Iterator["pa.RecordBatch"]


class _WithoutPandas(MetaPathFinder):
    """Lets pyarrow find no pandas: else it loads it with the first array, which takes longer than tshark."""

    def find_spec(self, name: str, path: object, target: object = None) -> None:
        """Refuse pandas; leave everything else to the usual finders."""
        if name == "pandas":
            raise ModuleNotFoundError(name)


@dataclass(frozen=True)
class Wanted:
    """Which table, and which of its rows and columns, the user wants; in the order of the options."""

    table: str
    engine: EngineName
    display_filter: str
    failed: bool
    streams: tuple[int, ...]
    sort: str
    limit: int | None
    columns: tuple[str, ...]


class Columns(click.ParamType[tuple[str, ...]]):
    """Names of columns with commas between them; the shell completes the last one."""

    name = "columns"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Return the names."""
        return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the columns that can stand last."""
        before, comma, begun = incomplete.rpartition(",")
        names = _schema(ctx.info_name or "", several=False).names
        return [CompletionItem(before + comma + name) for name in names if name.startswith(begun)]


def table_options(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command the options of `segments` and `connections`."""
    for option in reversed((
        FILES,
        click.option("-Y", "--display-filter", default="", metavar="FILTER",
                     help="Only what is in frames that this display filter of Wireshark selects, e.g. 'tcp.port == 443'."),
        click.option("--failed", is_flag=True, help="Only connections that did not open."),
        click.option("--stream", "streams", type=int, multiple=True, metavar="N",
                     help="Only connection N (Wireshark's tcp.stream); may be repeated."),
        click.option("--sort", type=Columns(), default=(), metavar="COLUMN",
                     help="In the order of a column; with a minus before its name (--sort=-duration), the greatest first."),
        click.option("--limit", type=click.IntRange(min=0), metavar="N", help="Only the first N rows."),
        click.option("--columns", type=Columns(), default=(), metavar="A,B,...", help="Only these columns, in this order."),
        EACH,
        ENGINE,
        click.option("--format", "form", type=click.Choice(FORMATS), help="Default: by OUT's ending, else table."),
        out_option(),
    )):  # fmt: skip
        command = option(command)
    return command


@click.command("segments")
@table_options
@click.pass_obj
def segments_command(
    diagnostics: Diagnostics, /, sources: tuple[str, ...], each: bool | None, form: str | None, out: Path | None, **chosen: Any
) -> int:
    """Print a row per TCP segment: its role, its step, the states after it, its anomalies."""
    return _write_table(diagnostics, sources, each, form, out, _wanted("segments", **chosen))


@click.command("connections")
@table_options
@click.pass_obj
def connections_command(
    diagnostics: Diagnostics, /, sources: tuple[str, ...], each: bool | None, form: str | None, out: Path | None, **chosen: Any
) -> int:
    """Print a row per connection: how it opened and closed, by whom, how fast."""
    return _write_table(diagnostics, sources, each, form, out, _wanted("connections", **chosen))


def _wanted(table: str, sort: tuple[str, ...], **chosen: Any) -> Wanted:
    if len(sort) > 1:
        raise click.UsageError("A table is sorted by one column: name one after --sort.")
    return Wanted(table, sort="".join(sort), **chosen)


def _write_table(
    diagnostics: Diagnostics, sources: tuple[str, ...], each: bool | None, form: str | None, out: Path | None, wanted: Wanted
) -> int:
    """Write one of the tables; return the exit status."""
    if "pandas" not in sys.modules:
        sys.meta_path.insert(0, _WithoutPandas())
    if form is None:
        check_ending(out, ENDINGS)
        form = ENDINGS.get(ending(out), "table")
    if out is None and form in BINARY and sys.stdout.isatty():
        raise OutputError(f"{form.capitalize()} is not for a terminal: add -o FILE.{form}.")
    captures = captures_of(sources, each)
    many = any(map(is_many, captures))
    if wanted.columns or wanted.sort:
        _check_columns(wanted, several=many or len(captures) > 1, many=many)
    # A table that is printed as it comes needs no other sign of progress.
    progress = False if out is None and form != "table" and not wanted.sort and sys.stdout.isatty() else None
    failed: list[str] = []
    with nullcontext() if out is None else atomic_file.replacing(out) as target, ThreadPoolExecutor(1) as pool:
        if form in BINARY:
            pool.submit(import_module, "pyarrow.parquet")  # while tshark works
        if len(captures) == 1:
            blocks = _begun(_chosen_rows(captures[0], wanted, progress))
            schema = _schema(wanted.table, several=False, many=many)
        else:
            blocks = _rows_of_several(captures, wanted, progress, failed)
            schema = _schema(wanted.table, several=True)
        _write(*_arranged(blocks, schema, wanted), form, target, all_columns=bool(wanted.columns))
    return ERROR if failed else diagnostics.status if any(map(is_many, sources)) else 0


def _schema(table: str, *, several: bool, many: bool = False) -> pa.Schema:
    from pybridge.tables import schema

    if many:
        return schema.SEGMENTS_OF_MANY if table == "segments" else schema.CONNECTIONS_OF_MANY
    found = schema.SEGMENTS if table == "segments" else schema.CONNECTIONS
    return schema.with_capture(found) if several else found


def _check_columns(wanted: Wanted, *, several: bool, many: bool) -> None:
    from pybridge.tables import selection

    names = (*wanted.columns, *([wanted.sort.removeprefix(selection.DESCENDING)] if wanted.sort else []))
    selection.check_columns(names, _schema(wanted.table, several=several, many=many))


def _rows_of_several(captures: Sequence[str], wanted: Wanted, progress: bool | None, failed: list[str]) -> Blocks:
    """Yield the rows of several captures with their names; say why some cannot be read, and add them to `failed`."""
    from pybridge.tables import batches

    total = len(captures)
    with warning_once(total), counting(f"{total} captures", "captures", total=total, shown=progress) as count:
        for source in captures:
            try:
                yield from batches.named(source, _chosen_rows(source, wanted, progress=False))
            except CaptureError as error:
                say(str(error))
                failed.append(source)
            count(1)


def _chosen_rows(source: str, wanted: Wanted, progress: bool | None) -> Blocks:
    """Yield the rows of one capture that the user wants."""
    with open_source(source) as opened:
        frames = None
        if wanted.display_filter:
            with counting("display filter", shown=progress):
                frames = matching_frames(opened, wanted.display_filter, plugin=plugin_files.path())
        with open_run(opened, wanted.engine, progress=progress) as run:
            rows = _of_segments(run, wanted, frames) if wanted.table == "segments" else _of_connections(run, wanted, frames)
            if wanted.streams:
                from pybridge.tables import selection

                rows = selection.where(rows, "stream", wanted.streams)
            yield from rows


def _of_segments(run: Run, wanted: Wanted, frames: set[int] | None) -> Blocks:
    rows = run.segments()
    if frames is None and not wanted.failed:
        return rows
    from pybridge.tables import selection

    if frames is not None:
        rows = selection.where(rows, "frame", frames)
    if wanted.failed:
        rows = selection.where(list(rows), "stream", selection.failed_streams(run.connections()))
    return rows


def _of_connections(run: Run, wanted: Wanted, frames: set[int] | None) -> Blocks:
    if frames is None and not wanted.failed:
        return run.connections()
    from pybridge.tables import selection

    rows = run.connections
    if frames is not None:
        found = selection.where(run.segments(), "frame", frames)
        streams = {stream for block in found for stream in block.column("stream").to_pylist()}
        blocks = selection.where(rows(), "stream", streams)
    else:
        blocks = rows()
    return (block.filter(selection.failed(block)) for block in blocks) if wanted.failed else blocks


def _begun(blocks: Blocks) -> Blocks:
    """Return the same blocks once the first has come: by then tshark has started, and the rest can be imported."""
    first = next(blocks, None)
    return blocks if first is None else chain((first,), blocks)


def _arranged(blocks: Blocks, schema: pa.Schema, wanted: Wanted) -> tuple[Blocks, pa.Schema]:
    """Return the rows of all captures in the order that the user wants, as many, with those columns."""
    if not (wanted.sort or wanted.columns) and wanted.limit is None:
        return blocks, schema
    import pyarrow as pa

    from pybridge.tables import selection

    if wanted.sort:
        blocks = iter(selection.ordered(blocks, schema, wanted.sort))
    if wanted.limit is not None:
        blocks = selection.first(blocks, wanted.limit)
    if wanted.columns:
        blocks = selection.columns(blocks, wanted.columns)
        schema = pa.schema([schema.field(name) for name in wanted.columns], metadata=schema.metadata)
    return blocks, schema


def _write(blocks: Blocks, schema: pa.Schema, form: str, target: Path | None, *, all_columns: bool = False) -> None:
    """Write a table to a file, or to standard output."""
    if form in BINARY:
        from pybridge.tables import writers

        write = writers.write_parquet if form == "parquet" else writers.write_arrow
        write(blocks, schema, target or sys.stdout.buffer)
        return
    stream = target.open("w", encoding="utf-8", newline="") if target else sys.stdout
    try:
        if form == "table":
            from pybridge.cli.table_text import print_table

            print_table(blocks, schema, stream, all_columns=all_columns)
        elif form == "zeek":
            from pybridge.tables.zeek import write_zeek

            write_zeek(blocks, schema, stream)
        else:
            from pybridge.tables.text_writers import WRITERS

            WRITERS[form](blocks, schema, stream)
    finally:
        if target:
            stream.close()
