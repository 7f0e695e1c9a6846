# SPDX-License-Identifier: GPL-2.0-or-later
"""The path of a capture from its name to the tables: `open_run` opens it, an engine annotates it, a `Run` yields the rows.

What needs pyarrow is imported by the functions that use it, so that tshark starts before pyarrow is loaded.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from pybridge.progress import counting
from pybridge.tcp.annotator import Annotator
from pybridge.tcp.model import Annotation, ConnectionRow, Segment
from pybridge.tcp.packed_connections import LIVE_OBJECTS
from pybridge.wireshark import plugin_files
from pybridge.wireshark.capture_source import CaptureSource
from pybridge.wireshark.columns import read_columns
from pybridge.wireshark.fields import FIELDS
from pybridge.wireshark.plugin_engine import PluginEngine
from pybridge.wireshark.sources import open_source

if TYPE_CHECKING:
    import pyarrow as pa

    from pybridge.tables.file_origins import ManyFiles, SingleFile

EngineName = Literal["python", "plugin"]
ENGINES: tuple[EngineName, ...] = ("python", "plugin")
Block = list[tuple[Segment, Annotation]]


class Engine(Protocol):
    """One of the two implementations, for one capture."""

    def annotate(self, source: CaptureSource) -> Generator[Block]:
        """Yield blocks of segments with their annotations, in order, as tshark delivers them."""
        ...

    def rows(self) -> Iterable[ConnectionRow]:
        """Return the rows of the connections that were annotated so far, by stream."""
        ...


class PythonEngine:
    """The `python` engine: raw headers from tshark, annotated by the Python annotator.

    Parameters
    ----------
    live_objects : int
        As of `Annotator`.
    """

    def __init__(self, live_objects: int = LIVE_OBJECTS) -> None:
        self._annotator = Annotator(live_objects)

    def annotate(self, source: CaptureSource) -> Generator[Block]:
        """Yield blocks of segments with their annotations, in order, as tshark delivers them."""
        yield from self.blocks(read_columns(source, FIELDS))

    def blocks(self, batches: Iterable[pa.RecordBatch]) -> Generator[Block]:
        """Yield a block for each batch with the columns `fields.FIELDS`."""
        for batch in batches:
            from pybridge.wireshark import segments

            yield list(self._annotator.annotate(segments.events(batch)))

    def rows(self) -> Iterator[ConnectionRow]:
        """Return the rows of the connections that were annotated so far, by stream."""
        return self._annotator.rows()


def engine_by_name(name: EngineName) -> Engine:
    """Return a new engine of that name.

    Raises
    ------
    ValueError
        There is no such engine.
    """
    if name == "python":
        return PythonEngine()
    if name == "plugin":
        return PluginEngine(plugin_files.path())
    raise ValueError(f"engine must be one of {', '.join(ENGINES)}, not {name!r}.")


class Run:
    """One capture that passes through one engine: first its segments, then its connections.

    Attributes
    ----------
    source : CaptureSource
    """

    def __init__(self, source: CaptureSource, engine: Engine, blocks: Iterator[Block]) -> None:
        self.source = source
        self._engine = engine
        self._blocks = blocks

    @cached_property
    def _origins(self) -> ManyFiles | SingleFile:
        from pybridge.tables.file_origins import ManyFiles, SingleFile

        return ManyFiles(self.source.files) if self.source.is_many else SingleFile()

    @property
    def segments_schema(self) -> pa.Schema:
        """The columns of `segments`, with those of the file in front if the capture is made of many files."""
        return self._origins.segments_schema

    @property
    def connections_schema(self) -> pa.Schema:
        """The columns of `connections`, with that of the file in front if the capture is made of many files."""
        return self._origins.connections_schema

    def segments(self) -> Iterator[pa.RecordBatch]:
        """Yield the segments in batches as tshark delivers them, in constant memory."""
        for block in self._blocks:
            yield self._origins.segments(block)

    def connections(self) -> Iterator[pa.RecordBatch]:
        """Annotate the segments that are left, then yield the connections in batches."""
        for block in self._blocks:
            self._origins.note(block)
        yield from self._origins.connections(self._engine.rows())


@contextmanager
def open_run(
    source: str | tuple[str, ...] | CaptureSource, engine: EngineName | Engine = "python", *, progress: bool | None = None
) -> Iterator[Run]:
    """Open a capture by its name, unless it is open already, and annotate it with an engine.

    Parameters
    ----------
    source : str, tuple of str or CaptureSource
        The name as of `pybridge.read`, names of several files, or a capture that `open_source` opened.
    engine : {"python", "plugin"} or Engine
    progress : bool, optional
        Show the number of segments on standard error, or as a widget in Jupyter, when it takes longer than a second; by
        default on a terminal and in Jupyter.

    Raises
    ------
    CaptureError, TSharkError, PluginError

    Warns
    -----
    CutShortWarning, LeftOutWarning, NotCaptureWarning, SameFileWarning
    """
    chosen = engine_by_name(engine) if isinstance(engine, str) else engine
    opening = nullcontext(source) if isinstance(source, CaptureSource) else open_source(source)
    with opening as opened, closing(_counted(chosen, opened, progress)) as blocks:
        yield Run(opened, chosen, blocks)


def _counted(engine: Engine, source: CaptureSource, progress: bool | None) -> Generator[Block]:
    """Yield the blocks of an engine, and show the number of segments so far."""
    with counting(Path(source.label).name, "segments", shown=progress) as count, closing(engine.annotate(source)) as blocks:
        for block in blocks:
            yield block
            count(len(block))
