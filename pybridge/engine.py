# SPDX-License-Identifier: GPL-2.0-or-later
"""The two ways to annotated segments, and the way of a capture through either."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Literal, Protocol

from tqdm import TqdmWarning

from pybridge.tcp.annotator import Annotator
from pybridge.tcp.model import Annotation, ConnectionRow, NetworkError, Segment
from pybridge.text import printable
from pybridge.wireshark import mergecap, plugin_files, segments, tshark
from pybridge.wireshark.plugin_engine import PluginEngine

with warnings.catch_warnings():
    warnings.simplefilter("ignore", TqdmWarning)  # in Jupyter without ipywidgets it draws with characters
    from tqdm.auto import tqdm

EngineName = Literal["python", "plugin"]
ENGINES: tuple[EngineName, ...] = ("python", "plugin")


class Engine(Protocol):
    """Annotates a capture; `rows` is complete once `annotate` is exhausted."""

    def annotate(self, source: tshark.Source) -> Generator[list[tuple[Segment, Annotation]]]:
        """Blocks of segments with their annotations, in order."""
        ...

    def rows(self) -> Iterable[ConnectionRow]:
        """The rows of all connections, by stream."""
        ...


class PythonEngine:
    """The `python` engine: raw headers from tshark, annotated here."""

    def __init__(self) -> None:
        self._annotator = Annotator()

    def annotate(self, source: tshark.Source) -> Generator[list[tuple[Segment, Annotation]]]:
        """Blocks of segments with their annotations, in order."""
        annotator = self._annotator
        for batch in tshark.columns(source, segments.FIELDS):
            annotated = []
            for event in segments.events(batch):
                if isinstance(event, NetworkError):
                    annotator.network_error(*event)
                else:
                    annotated.append((event, annotator.segment(*event)))
            yield annotated

    def rows(self) -> Iterator[ConnectionRow]:
        """The rows of all connections, by stream."""
        return (connection.row() for connection in self._annotator.connections.each())


def engine_by_name(name: EngineName) -> Engine:
    """The engine of that name.

    Raises
    ------
    ValueError
        There is none.
    """
    if name == "python":
        return PythonEngine()
    if name == "plugin":
        return PluginEngine(plugin_files.path())
    raise ValueError(f"engine must be one of {', '.join(ENGINES)}, not {name!r}.")


def annotate(
    engine: Engine, source: tshark.Source, *, progress: bool | None = None
) -> Generator[list[tuple[Segment, Annotation]], None, None]:
    """Blocks of annotated segments as tshark delivers them, in constant memory; close what you do not exhaust."""
    if progress is None:
        progress = sys.stderr.isatty() or "ipykernel" in sys.modules
    name = printable(Path(tshark.name(source)).name)
    bar = tqdm(desc=name, unit=" segments", unit_scale=True, delay=1, disable=not progress, leave=False)
    with mergecap.opened(source) as opened, bar, closing(engine.annotate(opened)) as blocks:
        for block in blocks:
            yield block
            bar.update(len(block))
