# SPDX-License-Identifier: GPL-2.0-or-later
"""Draw the ladder of a scenario and read its texts."""

from __future__ import annotations

from xml.etree import ElementTree

import pandas as pd

from pybridge.report.ladder.svg import ladder_svg
from pybridge.report.language import Language
from tests.support.scenarios import tables

SVG = "{http://www.w3.org/2000/svg}"


def draw(scenario: str | tuple[pd.DataFrame, pd.DataFrame], language: Language = "en") -> tuple[str, list[str]]:
    """Return the drawing of a scenario, or of its tables, and the texts on it from top to bottom as a parser of XML sees them."""
    segments, connections = tables(scenario) if isinstance(scenario, str) else scenario
    svg = ladder_svg(segments, connections.iloc[0], language=language)
    return svg, [element.text or "" for element in parse(svg).iter(f"{SVG}text")]


def parse(svg: str) -> ElementTree.Element:
    """Parse a drawing."""
    return ElementTree.fromstring(svg)  # noqa: S314 - the XML parsed is our own
