# SPDX-License-Identifier: GPL-2.0-or-later
"""The HTML report: one page that loads nothing from the network."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from html import escape
from importlib import resources
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pybridge.report.charts import charts
from pybridge.report.explanations import BENIGN_MARK, DIAGNOSIS, ESTABLISHMENT, PROBLEM_MARK, RESETS, TERMINATION
from pybridge.report.findings import NUMBERS_IN_FILTER
from pybridge.report.ladder import svg
from pybridge.report.language import TAGS, Language, Translate, translator
from pybridge.report.summary import (
    EXAMPLES_SHOWN,
    WERE_OPEN,
    Summary,
    are_several,
    by_outcome,
    lasted,
    since_first,
    summary,
    with_answer_times,
)
from pybridge.tables import frames
from pybridge.tables.peers import resets
from pybridge.tcp.vocabulary import FAILED, HARMLESS, OPENED
from pybridge.text import MISSING, amount, duration_text, endpoint, printable

GROUPS_PER_FAILURE = 50
"""Groups of failed connections that are listed for each kind of failure."""

CONNECTION_ROWS = 10_000
"""Connections that the table lists."""

END_OF_ADDRESS = re.compile(r":\d+$")
"""Before it an endpoint may wrap."""

SEGMENT_ROWS = 60
"""Segments that are listed for each ladder."""

LADDERS_OF_A_KIND = 20
"""Ladders of the same failure and anomalies that are chosen before other kinds get their turn."""

PRINTED_PAGE = 1300
"""Height of a printed page. A higher ladder needs a new page after it, else Chromium prints over its end."""

OPEN_LADDERS = 3
"""Ladders up to which all are open from the start."""

PEERS_SHOWN = 20
"""Servers, and clients, that are listed."""

EXCERPT_CHARTS = 4
"""Charts that an excerpt shows."""

EXCERPT_FAILURES = 5
"""Groups of failed connections that an excerpt shows."""


@dataclass(frozen=True)
class Column:
    """A column of the table of connections.

    Attributes
    ----------
    name : str
        Under which the page's script knows it.
    cell : callable
        Returns the text of a row's cell, not yet escaped.
    each_way : bool
        Whether it has a value for each direction.
    """

    name: str
    head: str
    cell: Callable[[Any], str]
    is_number: bool = False
    each_way: bool = False


COLUMNS = (
    Column("number", "No.", lambda row: str(row.Index)),
    Column("client", "Client", lambda row: printable(endpoint(row.client, row.client_port))),
    Column("server", "Server", lambda row: printable(endpoint(row.server, row.server_port))),
    Column("server_name", "Name", lambda row: printable(_as_cell(row.server_name))),
    Column("start", "Starts after", lambda row: duration_text(row.since), is_number=True),
    Column("lasts", "Lasts", lambda row: duration_text(row.lasted), is_number=True),
    Column("establishment", "Opening", lambda row: row.establishment),
    Column("handshake", "Handshake", lambda row: duration_text(row.handshake_time), is_number=True),
    Column("termination", "Closing", lambda row: row.termination),
    Column("closed_by", "First by", lambda row: _as_cell(row.closed_by)),
    Column("diagnosis", "Diagnosis", lambda row: row.diagnosis),
    Column("anomalies", "Anomalies", lambda row: printable(_as_cell(row.anomalies)).replace("+", ", ")),
    Column("segments", "Segments", lambda row: _each_way(row, "segments"), is_number=True, each_way=True),
    Column("bytes", "Bytes", lambda row: _each_way(row, "bytes"), is_number=True, each_way=True),
    Column("capture", "Capture", lambda row: printable(f"{os.path.basename(row.capture)}: {row.tcp_stream}")),
)
"""Of the table of connections; the names of servers and the capture are there only if the page has them."""


def render(
    segments: pd.DataFrame,
    connections: pd.DataFrame,
    *,
    title: str,
    versions: Mapping[str, str],
    notes: Sequence[str] = (),
    max_ladders: int = 200,
    language: Language = "en",
    facts: Summary | None = None,
) -> str:
    """Return the report as one HTML page, which loads nothing from the network and can be read without scripts.

    Parameters
    ----------
    segments : pandas.DataFrame
        One row per TCP segment.
    connections : pandas.DataFrame
        One row per connection, indexed by stream. For several captures, use the result of `summary.numbered`.
        With a column `server_name` the page has the names of servers.
    title : str
        The heading, usually the name of the file.
    versions : mapping of str to str
        Versions of the programs that made the report, by name, for the foot of the page.
    notes : sequence of str, optional
        Remarks that the reader must see (that the capture is cut short, for example).
    max_ladders : int, default 200
        Number of connections to draw at most; failed and anomalous ones are chosen first.
    language : {"en", "zh"}
        Language of the sentences. Names of states, roles and outcomes stay as they are in the tables.
    facts : Summary, optional
        Result of `summary`, if the caller has it already.

    Returns
    -------
    str
        The page.
    """
    translate = translator(language)
    connections = by_outcome(connections)
    drawn = _choose(connections, max_ladders)
    template = _environment(translate).get_template("report.html.j2")
    return template.render(
        language=TAGS[language],
        title=title,
        versions=versions,
        notes=notes,
        facts=facts or summary(segments, connections),
        charts=_charts(connections, translate, linked=CONNECTION_ROWS),
        ladders=_ladders(segments, connections, drawn, language, translate) if drawn else [],
        drawn=frozenset(drawn),
        open_ladders=len(drawn) <= OPEN_LADDERS,
        several=are_several(connections),
        examples_shown=EXAMPLES_SHOWN,
        groups_per_failure=GROUPS_PER_FAILURE,
        numbers_in_filter=NUMBERS_IN_FILTER,
        establishment=ESTABLISHMENT,
        termination=TERMINATION,
        diagnosis=DIAGNOSIS,
        resets=RESETS,
        peers_shown=PEERS_SHOWN,
        failed_values=FAILED,
        opened_values=OPENED,
        were_open_values=WERE_OPEN,
        **_table(connections, frozenset(drawn), translate),
        **_styles_and_script(),
    )


def excerpt(segments: pd.DataFrame, connections: pd.DataFrame, *, title: str) -> str:
    """Return the verdict, the charts and the first failures as an element for another page."""
    template = _environment(str).get_template("excerpt.html.j2")
    connections = by_outcome(connections)
    return template.render(
        title=title,
        facts=summary(segments, connections),
        charts=_charts(connections, str, EXCERPT_CHARTS),
        failures_shown=EXCERPT_FAILURES,
        establishment=ESTABLISHMENT,
        termination=TERMINATION,
    )


# The parts of the page


def _charts(
    connections: pd.DataFrame, translate: Translate, most: int | None = None, linked: int = 0
) -> list[tuple[str, Markup]]:
    drawn = islice(charts(connections, translate, linked), most)
    return [(chart.title, Markup(chart.html)) for chart in drawn]  # noqa: S704 - escaped there


def _choose(connections: pd.DataFrame, limit: int) -> list[int]:
    """Return the streams to draw, in order: failed and anomalous ones first, of these at first only some of every kind."""
    if connections.empty or limit <= 0:
        return []
    failed = connections["establishment"].isin(FAILED)
    anomalies = connections["anomalies"].astype(object).where(connections["anomalies"].notna(), "").astype(str)
    dull = ~failed & (anomalies == "") & connections["diagnosis"].isin(HARMLESS)
    kind = connections["establishment"].astype(str) + " " + connections["diagnosis"].astype(str) + " " + anomalies
    repeated = kind.groupby(kind).cumcount() >= LADDERS_OF_A_KIND
    order = np.lexsort((np.arange(len(connections)), repeated & ~dull, dull))[:limit]
    chosen = order[np.lexsort((order, dull.to_numpy()[order]))]
    return [int(stream) for stream in connections.index[chosen]]


def _ladders(
    segments: pd.DataFrame, connections: pd.DataFrame, streams: list[int], language: Language, translate: Translate
) -> list[dict[str, Any]]:
    drawn = svg.ladders(segments, connections, streams, language=language)
    rows = (row for _, row in with_answer_times(connections.loc[streams]).iterrows())
    counts, listed = segments["stream"].value_counts(), _segment_rows(segments, streams)
    return [
        _ladder(drawing, row, listed.get(stream, []), int(counts.get(stream, 0)), translate)
        for drawing, stream, row in zip(drawn, streams, rows, strict=True)
    ]


def _ladder(
    drawing: str, connection: pd.Series[Any], rows: list[tuple[str, ...]], count: int, translate: Translate
) -> dict[str, Any]:
    return {
        "stream": connection.name,
        "tcp_stream": connection.get("tcp_stream", connection.name),
        "capture": connection["capture"] if "tcp_stream" in connection else "",
        "client": endpoint(str(connection["client"]), int(connection["client_port"])),
        "server": endpoint(str(connection["server"]), int(connection["server_port"])),
        "name": _as_cell(connection.get("server_name")),
        "establishment": str(connection["establishment"]),
        "termination": str(connection["termination"]),
        "diagnosis": str(connection["diagnosis"]),
        "anomalies": _as_cell(connection["anomalies"]).replace("+", ", "),
        "details": _details(connection, translate),
        "rows": rows,
        "more": count - len(rows),
        "tall": _height(drawing) > PRINTED_PAGE,
        "svg": Markup(drawing),  # noqa: S704 - `ladders` escapes all text
    }


def _segment_rows(segments: pd.DataFrame, streams: list[int]) -> dict[int, list[tuple[str, ...]]]:
    """Return the cells of the first segments of each stream, as text."""
    shown = segments[segments["stream"].isin(streams)]
    shown = shown[shown.groupby("stream").cumcount() < SEGMENT_ROWS]
    since = shown["time"] - shown.groupby("stream")["time"].transform("first")
    columns = [
        shown["frame"], since.map(duration_text), shown["sender"], shown["tcp_flags"],
        shown["seq_raw"], shown["ack_raw"], shown["length"], shown["role"],
        frames.steps(shown), shown["client_state"], shown["server_state"], shown["responds_to"],
        shown["response_time"].map(duration_text), shown["anomaly"],
    ]  # fmt: skip
    rows: dict[int, list[tuple[str, ...]]] = {}
    for stream, *cells in zip(shown["stream"], *(column.astype(object).map(_as_cell) for column in columns), strict=True):
        rows.setdefault(int(stream), []).append(tuple(cells))
    return rows


def _height(svg: str) -> int:
    found = re.search(r' height="(\d+)"', svg)
    return int(found[1]) if found else 0


def _details(connection: pd.Series[Any], translate: Translate) -> list[tuple[str, str]]:
    """Return the names and values that stand beside a ladder; missing values are left out."""
    details = [
        ("Suspect", translate(str(connection["suspect"])) if pd.notna(connection["suspect"]) else MISSING),
        ("Evidence in frame", _as_cell(connection["evidence"]).replace("+", ", ") or MISSING),
        ("Closed first by", translate(_as_cell(connection["closed_by"]) or "nobody")),
        ("Reset by", translate(str(connection["reset_by"])) if pd.notna(connection["reset_by"]) else MISSING),
        ("Handshake", duration_text(connection["handshake_time"])),
        ("Server\u2019s answer", duration_text(connection["server_response_time"])),
        ("Client\u2019s answer", duration_text(connection["client_response_time"])),
        ("Waiting", duration_text(connection["retransmission_delay"]) if connection["retransmission_delay"] else MISSING),
        ("Teardown", duration_text(connection["teardown_time"])),
        ("MSS", _pair(connection, "mss")),
        ("Window scale", _pair(connection, "window_scale")),
        ("Fast Open", _pair(connection, "fast_open")),
        ("SACK", _yes_no(connection["sack_permitted"], translate)),
        ("Timestamps", _yes_no(connection["timestamps"], translate)),
        ("ECN", _as_cell(connection["ecn"]) or MISSING),
        ("States at the end", f"{connection['client_state']} / {connection['server_state']}"),
    ]
    return [(translate(name), value) for name, value in details if value not in (MISSING, f"{MISSING} / {MISSING}")]


def _pair(connection: pd.Series[Any], name: str) -> str:
    """Return, for example, ``1460 / 1440``: the client's value and the server's."""
    return " / ".join(_as_cell(connection[f"{end}_{name}"]) or MISSING for end in ("client", "server"))


def _yes_no(value: Any, translate: Translate) -> str:
    return MISSING if pd.isna(value) else translate("yes" if value else "no")


def _table(connections: pd.DataFrame, drawn: frozenset[int], translate: Translate) -> dict[str, Any]:
    """Return the template's values for the table of connections."""
    absent = {"server_name": "server_name" not in connections, "capture": not are_several(connections)}
    columns = [column for column in COLUMNS if not absent.get(column.name)]
    rows = _table_rows(connections.head(CONNECTION_ROWS), columns)
    return {
        "columns": columns,
        "column_style": _column_style(columns),
        "rows": rows,
        "listed": frozenset(row["stream"] for row in rows),
        "plain_row": partial(_plain_row, columns=columns, drawn=drawn),
        "data": _json({"failed": FAILED, "mark": PROBLEM_MARK, "words": _words(translate)}),
    }


def _table_rows(connections: pd.DataFrame, columns: Sequence[Column]) -> list[dict[str, Any]]:
    """Return a row for each connection: the texts of its cells, and the numbers for sorting and filtering."""
    if connections.empty:
        return []
    start = since_first(connections)
    rows: Iterable[Any] = connections.assign(
        since=start, end=start + connections["duration"], lasted=lasted(connections), reset_class=resets(connections)
    ).itertuples()
    return [
        {
            "stream": row.Index,
            "failed": row.establishment in FAILED,
            "reset": _as_cell(row.reset_class),
            "cells": [column.cell(row) for column in columns],
            "numbers": (
                row.since.total_seconds(),
                row.end.total_seconds(),
                "" if pd.isna(row.handshake_time) else row.handshake_time.total_seconds(),
                row.client_segments + row.server_segments,
                row.client_bytes + row.server_bytes,
            ),
        }
        for row in rows
    ]


def _each_way(row: Any, what: str) -> str:
    return " / ".join(amount(getattr(row, f"{end}_{what}")) for end in ("client", "server"))


def _column_style(columns: Sequence[Column]) -> Markup:
    """Return the style of the columns by their places: a class in each of ten thousand rows would take too much room."""
    numbers = ",".join(f":nth-child({place})" for place, column in enumerate(columns, 1) if column.is_number)
    anomalies = f".rows>tbody>tr>td:nth-child({[column.name for column in columns].index('anomalies') + 1})"
    return Markup(  # noqa: S704 - of numbers
        f".rows>*>tr>:is({numbers}){{text-align:right}}"
        f"{anomalies}{{min-width:9rem;white-space:normal;overflow-wrap:anywhere}}"
        f"@media screen and (max-width:600px){{{anomalies}{{min-width:7rem}}}}"
        f"@media print{{{anomalies}{{min-width:0}}}}"
    )


# The template, the script and their filters


def _plain_row(row: Mapping[str, Any], columns: Sequence[Column], drawn: frozenset[int]) -> Markup:
    """Return a row of the table. For ten thousand rows the template would take twenty times as long."""
    texts = escape("\0".join(row["cells"])).split("\0")  # all cells at once: none holds a control character
    cells = dict(zip((column.name for column in columns), texts, strict=True))
    number = cells.pop("number")
    cells |= {end: END_OF_ADDRESS.sub(r"<wbr>\g<0>", cells[end]) for end in ("client", "server")}
    if row["failed"]:
        cells["establishment"] = f'<span class="bad">{PROBLEM_MARK} {cells["establishment"]}</span>'
    head = f'<a href="#ladder-{number}">{number}</a>' if row["stream"] in drawn else number
    data = f'data-n="{",".join(map(str, row["numbers"]))}"' + (f' data-reset="{row["reset"]}"' if row["reset"] else "")
    return Markup(f'<tr id="row-{number}" {data}><th scope="row">{head}</th><td>{"</td><td>".join(cells.values())}</td></tr>')  # noqa: S704 - escaped


def _words(translate: Translate) -> dict[str, Any]:
    """Return the texts of the script."""
    return {
        "search": translate("Search"),
        "per_page": translate("per page"),
        "range": translate("{first} to {last} of {number}"),
        "of_all": translate("(filtered from {all})"),
        "no_match": translate("No connection matches."),
        "previous": translate("Previous"),
        "next": translate("Next"),
        "columns": translate("Columns"),
        "filtered": translate("Filtered by:"),
        "remove": translate("Remove this filter"),
        "all": translate("Show all"),
        "open": translate("Open connection"),
        "not_drawn": translate("This connection is not drawn here. To draw it:"),
        "copied": translate("copied"),
        "failed": ["failed", translate("failed")],
        "kinds": {kind: translate(kind) for kind in FAILED},
    }


def _json(value: Any) -> Markup:
    """Return JSON that can stand in a script element."""
    text = json.dumps(value, separators=(",", ":"))
    return Markup(re.sub("[<>&]", lambda found: f"\\u{ord(found[0]):04x}", text))  # noqa: S704 - escaped


def _styles_and_script() -> dict[str, Any]:
    """Return the template's values that are the same on every page. The hash allows this script, and no other, to run."""
    script = _template_text("report.js")
    return {
        "script": Markup(script),  # noqa: S704 - a constant
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "page_style": Markup(_template_text("report.css")),  # noqa: S704 - a constant
        "ladder_style": Markup(svg.STYLE),  # noqa: S704 - a constant
    }


@cache
def _template_text(name: str) -> str:
    """Return a file that goes into the page as it is, without its indentation."""
    text = (resources.files("pybridge.report") / "templates" / name).read_text(encoding="utf-8")
    return re.sub(r"^\s+", "", text, flags=re.MULTILINE)


def _environment(translate: Translate) -> Environment:
    environment = Environment(
        loader=PackageLoader("pybridge.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printable,
    )
    environment.filters |= {
        "breakable": _breakable,
        "json": _compact,
        "duration": duration_text,
        "amount": partial(amount, translate=translate),
        "moment": _moment,
        "percent": _percent,
    }
    environment.globals |= {
        "translate": translate,
        "phrase": partial(_phrase, translate),
        "problem_mark": PROBLEM_MARK,
        "benign_mark": BENIGN_MARK,
    }
    return environment


def _phrase(translate: Translate, template: str, **values: Any) -> Markup:
    """Translate a phrase, and fill in values that are escaped."""
    return Markup(translate(template)).format(**{name: _printable(value) for name, value in values.items()})  # noqa: S704 - the template is a constant


def _printable(value: Any) -> Any:
    return printable(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _compact(pick: Mapping[str, Iterable[str | int]]) -> str:
    """Return a pick as JSON, with the values as they are in the table's cells."""
    shown = {column: [_printable(value) for value in values] for column, values in pick.items()}
    return json.dumps(shown, separators=(",", ":"))


def _breakable(text: str) -> str:
    """Return an endpoint that may wrap after a colon, if it is longer than any IPv4 endpoint."""
    return Markup(":<wbr>").join(printable(text).split(":")) if len(text) > len("255.255.255.255:65535") else text


def _percent(part: int, whole: int) -> str:
    if not whole:
        return MISSING
    if 0 < part < whole and not 1 <= 100 * part / whole <= 99:
        return "< 1 %" if part < whole / 2 else "> 99 %"
    return f"{100 * part / whole:.0f} %"


def _moment(time: pd.Timestamp) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + " UTC"


def _as_cell(value: Any) -> str:
    return "" if value is None or pd.isna(value) else str(value)
