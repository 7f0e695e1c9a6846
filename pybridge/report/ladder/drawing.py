# SPDX-License-Identifier: GPL-2.0-or-later
"""A ladder as users have it: an SVG that can be saved, also as text for terminals, Mermaid and PlantUML."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pybridge.atomic_file import replacing
from pybridge.errors import OutputError
from pybridge.report.ladder import diagrams, svg, text
from pybridge.report.ladder.story import stories
from pybridge.report.language import Language, translator

if TYPE_CHECKING:
    import pandas as pd

FORMS = ("svg", "txt", "mmd", "puml")
"""Endings of the files that a ladder can be saved as: SVG, Unicode text, Mermaid, PlantUML."""


class Ladder(str):
    """The SVG of a ladder. Jupyter displays it as a picture.

    Parameters
    ----------
    segments : pandas.DataFrame
        The table `segments`, or the rows of the connection in it.
    connection : pandas.Series
        Its row in `connections`; the name of the series is the stream.
    language : {"en", "zh"}, default "en"
    """

    _segments: pd.DataFrame
    _connection: pd.Series[Any]
    _language: Language

    def __new__(cls, segments: pd.DataFrame, connection: pd.Series[Any], *, language: Language = "en") -> Ladder:
        """Draw the ladder, and keep the rows from which it is drawn."""
        rows = segments[segments["stream"] == connection.name]
        ladder = super().__new__(cls, svg.ladder_svg(rows, connection, language=language))
        ladder._segments, ladder._connection, ladder._language = rows, connection, language
        return ladder

    def _repr_html_(self) -> str:
        return str(self)

    def lines(self, width: int = 100) -> list[text.Line]:
        """Return the ladder as lines of Unicode characters, so many columns wide, with their styles."""
        return list(text.ladder_lines(self._segments, self._connection, width=width, language=self._language))

    def written(self, form: str) -> str:
        """Return the ladder as the content of a file with one of the endings `FORMS`."""
        if form == "svg":
            return str(self)
        if form == "txt":
            return text.ladder_text(self._segments, self._connection, language=self._language)
        table = self._connection.to_frame().T.infer_objects()
        (story,) = stories(self._segments, table, table.index.tolist())
        dialect = {"mmd": diagrams.MERMAID, "puml": diagrams.PLANTUML}[form]
        return diagrams.diagram(story, dialect, translator(self._language))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Save the ladder, as the ending of the name says: `.svg`, `.txt`, `.mmd` (Mermaid) or `.puml` (PlantUML).

        Raises
        ------
        OutputError
            The ending stands for no format, or the file cannot be written.

        Examples
        --------
        >>> import pybridge
        >>> ladder = pybridge.read(pybridge.examples.capture("refused")).ladder(0)
        >>> ladder.written("mmd").splitlines()[0]
        'sequenceDiagram'
        """
        target = Path(path)
        form = target.suffix.removeprefix(".").lower()
        if form not in FORMS:
            raise OutputError(f"{target} has an ending that stands for no form of a ladder: choose from {', '.join(FORMS)}.")
        with replacing(target) as temporary:
            temporary.write_text(self.written(form), encoding="utf-8")
