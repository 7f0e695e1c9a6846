# SPDX-License-Identifier: GPL-2.0-or-later
"""Ladder diagram (sequence diagram) of one TCP connection as a self-contained SVG."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from pybridge.text import MINUS, duration_text, endpoint, printable

LEGAL_ANOMALIES = frozenset(
    {"simultaneous-open", "simultaneous-close", "syn-with-data", "half-close-data", "port-reuse", "duplicate"}
)
"""Anomalies that are rare but allowed; every other one points at a problem."""

PROBLEM_MARK = "▲"
LEGAL_MARK = "△"

SHORT_CONNECTION = 12  # up to so many segments, nothing is folded
SHORTEST_FOLD = 3  # a run of fewer plain segments is drawn segment by segment
ROWS_BEFORE_CAP, ROWS_AFTER_CAP = 40, 20
LONG_GAP_NS = 500_000_000

WIDTH = 1010
TIME_X, CLIENT_X, SERVER_X, NOTE_X = 80, 208, 692, 806
MIDDLE_X = (CLIENT_X + SERVER_X) // 2
SLANT = 12

STYLE = """\
.tcp-ladder{font:12px system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;font-variant-numeric:tabular-nums}
.tcp-ladder text{fill:currentColor}
.tcp-ladder .e{text-anchor:end}
.tcp-ladder .m{text-anchor:middle}
.tcp-ladder .q{font-size:11px;opacity:.74}
.tcp-ladder .b{font-weight:600}
.tcp-ladder .s{font-size:11px;font-weight:600}
.tcp-ladder .l{stroke:currentColor;stroke-opacity:.5;fill:none}
.tcp-ladder .g{stroke-dasharray:2 4}
.tcp-ladder .a{stroke:currentColor;fill:currentColor;opacity:.62}
.tcp-ladder .h{stroke:#005f99;fill:#005f99;stroke-width:1.75;\
stroke:color-mix(in srgb,#0080d0 72%,currentColor);fill:color-mix(in srgb,#0080d0 72%,currentColor)}
.tcp-ladder .x{stroke:#a64b00;fill:#a64b00;stroke-width:1.75;\
stroke:color-mix(in srgb,#d55e00 74%,currentColor);fill:color-mix(in srgb,#d55e00 74%,currentColor)}
.tcp-ladder .d{stroke-dasharray:7 4}
.tcp-ladder .f{fill:currentColor;fill-opacity:.07;stroke:currentColor;stroke-opacity:.3}
.tcp-ladder text.w{font-size:11.5px;font-weight:600;fill:#a64b00;fill:color-mix(in srgb,#d55e00 74%,currentColor)}
.tcp-ladder text.o{font-size:11.5px;font-weight:600;fill:#005f99;fill:color-mix(in srgb,#0080d0 72%,currentColor)}
svg.tcp-ladder:root{background:#fff;color:#1a1a1a}
@media screen and (prefers-color-scheme:dark){svg.tcp-ladder:root{background:#141414;color:#e8e8e8}}
@media print{.tcp-ladder{print-color-adjust:exact;break-inside:auto}}
"""


class Ladder(str):
    """The SVG of a ladder, which shows itself in Jupyter."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return str(self)


@dataclass
class _End:
    """Positions (in the segments) and values of an end's ISNs and FINs, and the base of its relative numbers."""

    isn_at: list[int]
    isn: list[int]
    fin_at: list[int]
    fin: list[int]
    fallback: int | None

    def base(self, position: int) -> int | None:
        """ISN that applies at a position: the latest seen, else the next one, else the first number seen."""
        if not self.isn:
            return self.fallback
        return self.isn[max(bisect_left(self.isn_at, position + 1) - 1, 0)]

    def isn_before(self, position: int) -> int | None:
        index = bisect_left(self.isn_at, position)
        return self.isn[index - 1] if index else None

    def fin_before(self, position: int) -> int | None:
        index = bisect_left(self.fin_at, position)
        return self.fin[index - 1] if index else None


@dataclass
class _Canvas:
    """The drawing so far: how far down it goes, its elements, and the states written last."""

    y: int = 0
    parts: list[str] = field(default_factory=list)
    life: list[str] = field(default_factory=list)
    breaks: list[str] = field(default_factory=list)
    states: tuple[str, str] = ("", "")

    def text(self, x: int, y: int, classes: str, content: str) -> None:
        attribute = f' class="{classes}"' if classes else ""
        self.parts.append(f'<text x="{x}" y="{y}"{attribute}>{_xml(content)}</text>')

    def path(self, classes: str, commands: str) -> None:
        self.parts.append(f'<path class="{classes}" d="{commands}"/>')

    def advance(self, height: int, *, broken: bool = False) -> None:
        """Go down, drawing both life lines on the way."""
        lines = self.breaks if broken else self.life
        lines.append(f"M{CLIENT_X} {self.y}v{height}M{SERVER_X} {self.y}v{height}")
        self.y += height

    def state_changes(self, client: str, server: str, client_y: int, server_y: int) -> None:
        if client and client != self.states[0]:
            self.text(CLIENT_X - 9, client_y, "s e", client)
        if server and server != self.states[1]:
            self.text(SERVER_X + 9, server_y, "s", server)
        self.states = (client or self.states[0], server or self.states[1])


def ladder_svg(segments: pd.DataFrame, connection: pd.Series[Any], *, with_style: bool = True) -> str:
    """Draw one connection as a ladder: client left, server right, time runs down.

    Parameters
    ----------
    segments : pandas.DataFrame
        The rows of the connection in ``segments``, in the order of the capture.
    connection : pandas.Series
        Its row in ``connections``; the name of the series is the stream.
    with_style : bool, default True
        Include the style sheet. A page with many ladders can include `STYLE` once and leave it out here.

    Returns
    -------
    str
        An ``<svg>`` element without any ``id``, which can stand alone or be put into an HTML page many times.
    """
    canvas = _Canvas()
    _draw_heads(canvas, connection)
    if len(segments):
        _draw_rows(canvas, segments, connection)
    else:
        _draw_remark(canvas, ["No segment of this connection is in the table."])
    _draw_network_error(canvas, connection)
    canvas.advance(10)
    return _document(canvas, _title(connection), _description(segments, connection), with_style)


def _document(canvas: _Canvas, title: str, description: str, with_style: bool) -> str:
    style = f"<style>{STYLE}</style>" if with_style else ""
    broken = f'<path class="l g" d="{"".join(canvas.breaks)}"/>' if canvas.breaks else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="tcp-ladder" role="img" viewBox="0 0 {WIDTH} {canvas.y + 6}" '
        f'width="{WIDTH}" height="{canvas.y + 6}" style="max-width:100%;height:auto">'
        f"<title>{_xml(title)}</title><desc>{_xml(description)}</desc>{style}"
        f'<path class="l" d="{"".join(canvas.life)}"/>{broken}{"".join(canvas.parts)}</svg>'
    )


def _title(connection: pd.Series[Any]) -> str:
    client, server = _heads(connection)
    return f"TCP connection {_text(connection.name)}: {client} to {server}"


def _description(segments: pd.DataFrame, connection: pd.Series[Any]) -> str:
    """Say in words what the drawing shows: the outcome, and the segments that have a role."""
    outcome = f"Opening: {_text(connection['establishment'])}. Closing: {_text(connection['termination'])}"
    closed_by = _text(connection["closed_by"])
    counts = f"{len(segments)} segments. {outcome}{f', begun by {closed_by}' if closed_by else ''}."
    if not len(segments):
        return counts
    roles = segments[segments["role"].notna() | segments["anomaly"].notna()].head(ROWS_BEFORE_CAP)
    steps = [f"frame {row.frame} {row.sender} {_role_and_step(row)}{_spoken(_anomalies(row))}" for row in _tuples(roles)]
    return f"{counts} {'; '.join(steps)}" + ("." if steps else "")


def _spoken(anomalies: Sequence[str]) -> str:
    return f" ({', '.join(anomalies)})" if anomalies else ""


def _heads(connection: pd.Series[Any]) -> tuple[str, str]:
    client, server = (endpoint(str(connection[end]), int(connection[f"{end}_port"])) for end in ("client", "server"))
    return client, server


def _draw_heads(canvas: _Canvas, connection: pd.Series[Any]) -> None:
    client, server = _heads(connection)
    for x, name, role in ((CLIENT_X, client, "client"), (SERVER_X, server, "server")):
        canvas.text(x, 16, "m q", role)
        canvas.text(x, 32, "m b", name)
    canvas.text(TIME_X, 16, "e q", "time / s")
    canvas.y = 40


def _draw_rows(canvas: _Canvas, segments: pd.DataFrame, connection: pd.Series[Any]) -> None:
    spans = _spans(_notable(segments))
    hidden: tuple[int, int] | None = None
    if len(spans) > ROWS_BEFORE_CAP + ROWS_AFTER_CAP:
        hidden = (spans[ROWS_BEFORE_CAP][0], spans[-ROWS_AFTER_CAP][0])
        spans = [*spans[:ROWS_BEFORE_CAP], hidden, *spans[-ROWS_AFTER_CAP:]]
    spans = [part for span in spans for part in _unfold(span, span == hidden or len(segments) > SHORT_CONNECTION)]
    ends = (_end(segments, "client"), _end(segments, "server"))
    times = segments["time"].astype("datetime64[ns, UTC]").astype("int64").to_numpy()
    close = _close(segments, times, ends, connection["teardown_time"])
    _draw_initial_states(canvas, segments)
    last = int(times[0])
    single = [start for start, stop in spans if stop - start == 1 and (start, stop) != hidden]
    rows = dict(zip(single, _tuples(segments.iloc[single]), strict=True))  # at once: pandas takes as long for each
    for start, stop in spans:
        _draw_gap(canvas, int(times[start]) - last)
        if (start, stop) == hidden:
            _draw_hidden(canvas, segments.iloc[start:stop], _text(connection.name))
        elif stop - start > 1:
            _draw_band(canvas, segments.iloc[start:stop], times[start:stop] - times[0])
        else:
            teardown = connection["teardown_time"] if start == close else None
            _draw_segment(canvas, rows[start], start, ends, int(times[start] - times[0]), teardown)
        last = int(times[stop - 1])


def _notable(segments: pd.DataFrame) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which segments must not be folded: those with a role, an anomaly, SYN, FIN or RST, or a change of state."""
    notable = segments["role"].notna() | segments["anomaly"].notna() | segments["retransmission"]
    notable |= segments["flags"].astype(str).str.contains("SYN|FIN|RST", regex=True)
    keep = notable.to_numpy(dtype=bool, copy=True)
    for column in ("client_state", "server_state"):
        codes = pd.factorize(segments[column])[0]
        keep[1:] |= codes[1:] != codes[:-1]
    return keep


def _spans(notable: np.ndarray[Any, np.dtype[np.bool_]]) -> list[tuple[int, int]]:
    """Half-open ranges of positions: one for each notable segment, one for each run of others between them."""
    begins = notable.copy()
    begins[1:] |= notable[:-1]
    begins[0] = True
    starts = np.flatnonzero(begins)
    stops = np.append(starts[1:], len(notable))
    return list(zip(starts.tolist(), stops.tolist(), strict=True))


def _unfold(span: tuple[int, int], may_fold: bool) -> list[tuple[int, int]]:
    start, stop = span
    if may_fold and stop - start >= SHORTEST_FOLD:
        return [span]
    return [(position, position + 1) for position in range(start, stop)]


def _end(segments: pd.DataFrame, name: str) -> _End:
    """Find what one end's numbers are relative to, and where its SYNs and FINs are."""
    own = (segments["sender"] == name).to_numpy(dtype=bool)
    role = segments["role"].astype(object).where(segments["role"].notna(), "").astype(str)
    opening = np.flatnonzero(own & role.isin(["SYN", "SYN-ACK"]).to_numpy(dtype=bool))
    closing = np.flatnonzero(own & role.str.contains(r"(?:^|\+)FIN$", regex=True).to_numpy(dtype=bool))
    seq, length = segments["seq"].to_numpy(), segments["length"].to_numpy()
    return _End(
        isn_at=opening.tolist(),
        isn=seq[opening].tolist(),
        fin_at=closing.tolist(),
        fin=((seq[closing] + length[closing]) % 2**32).tolist(),
        fallback=_first_number(segments, own),
    )


def _close(
    segments: pd.DataFrame, times: np.ndarray[Any, np.dtype[Any]], ends: tuple[_End, _End], teardown: pd.Timedelta
) -> int | None:
    """Position of the segment that completed the close: the last acknowledgement of a FIN that long after a FIN."""
    if pd.isna(teardown):
        return None
    fins = times[[*ends[0].fin_at, *ends[1].fin_at]]
    acknowledges = segments["role"].astype(str).str.contains("ACK-OF-FIN").to_numpy(dtype=bool)
    closes = np.flatnonzero(acknowledges & np.isin(times - teardown.as_unit("ns").value, fins))
    return int(closes[-1]) if len(closes) else None


def _first_number(segments: pd.DataFrame, own: np.ndarray[Any, np.dtype[np.bool_]]) -> int | None:
    """First sequence number of an end, else the first acknowledgement it got, else None."""
    flags = segments["flags"].astype(str)
    sent = np.flatnonzero(own & ~flags.str.contains("RST").to_numpy(dtype=bool))
    if len(sent):
        return int(segments["seq"].iloc[sent[0]])
    received = np.flatnonzero(~own & flags.str.contains("ACK").to_numpy(dtype=bool))
    return int(segments["ack"].iloc[received[0]]) if len(received) else None


def _draw_initial_states(canvas: _Canvas, segments: pd.DataFrame) -> None:
    """Write CLOSED and LISTEN at the top where the capture begins with the first SYN."""
    first = _tuples(segments.iloc[:1])[0]
    if _text(first.role) == "SYN" and first.sender == "client" and _text(first.server_state) == "LISTEN":
        canvas.state_changes("CLOSED", "LISTEN", canvas.y + 13, canvas.y + 13)
        canvas.advance(18)


def _draw_segment(
    canvas: _Canvas, row: Any, position: int, ends: tuple[_End, _End], offset: int, teardown: pd.Timedelta | None
) -> None:
    y, from_client = canvas.y, row.sender == "client"
    notes = _notes(row)
    if teardown is not None:
        notes.append(("q", f"teardown took {duration_text(teardown)}"))
    raw = _raw_numbers(row, position, ends)
    canvas.text(TIME_X, y + 20, "e", _seconds(offset))
    canvas.text(TIME_X, y + 33, "e q", f"frame {row.frame}")
    canvas.text(MIDDLE_X, y + 15, "m b" if _text(row.role) else "m", _label(row, position, ends))
    _draw_arrow(canvas, row, y + 21)
    if raw:
        canvas.text(MIDDLE_X, y + 45, "m q", raw)
    leaving, arriving = y + 25, y + 25 + SLANT
    client_y, server_y = (leaving, arriving) if from_client else (arriving, leaving)
    canvas.state_changes(_text(row.client_state), _text(row.server_state), client_y, server_y)
    for line, (classes, note) in enumerate(notes):
        canvas.text(NOTE_X, y + 20 + 14 * line, classes, note)
    canvas.advance(max(55 if raw else 43, 14 * len(notes) + 14))


def _draw_arrow(canvas: _Canvas, row: Any, y: int) -> None:
    """Draw a slanted line with its head; dashed for a retransmission, which the head must not be."""
    x1, x2, back = (CLIENT_X, SERVER_X, -10) if row.sender == "client" else (SERVER_X, CLIENT_X, 10)
    tip = y + SLANT
    line, head, kind = f"M{x1} {y}L{x2} {tip}", f"M{x2} {tip}l{back}-4.5v8.5z", _arrow_class(row)
    if row.retransmission:
        canvas.path(f"{kind} d", line)
        canvas.path(kind, head)
    else:
        canvas.path(kind, line + head)  # a line has no area, so that filling the path fills the head alone


def _arrow_class(row: Any) -> str:
    problem = any(name not in LEGAL_ANOMALIES for name in _anomalies(row)) or "RST" in _flags(row)
    return "x" if problem else "h" if _text(row.role) else "a"


def _label(row: Any, position: int, ends: tuple[_End, _End]) -> str:
    """Write flags, relative numbers and payload in the words of Wireshark's Info column."""
    own, peer = ends if row.sender == "client" else (ends[1], ends[0])
    zero = row.seq == 0 and "RST" in _flags(row)
    parts = [f"[{_text(row.flags) or 'no flags'}]", f"Seq={0 if zero else _relative(row.seq, own.base(position))}"]
    if "ACK" in _flags(row):
        parts.append(f"Ack={_relative(row.ack, peer.base(position))}")
    parts.append(f"Len={row.length}")
    return " ".join(parts)


def _relative(number: int, base: int | None) -> int:
    """Distance from the base; slightly before it is negative (a keep-alive), anything else counts up."""
    distance = (int(number) - (base or 0)) % 2**32
    return distance - 2**32 if distance >= 2**32 - 2**16 else distance


def _raw_numbers(row: Any, position: int, ends: tuple[_End, _End]) -> str:
    """Numbers as they are in the header, with the check of what is acknowledged; empty for plain segments."""
    if not _text(row.role) and "ack-mismatch" not in _anomalies(row):
        return ""
    peer = ends[1] if row.sender == "client" else ends[0]
    checks = _checks(row, position, peer)
    if not checks and "ACK" in _flags(row):
        checks = [f"ack {row.ack}"]
    return " · ".join([f"seq {row.seq}", *checks])


def _checks(row: Any, position: int, peer: _End) -> list[str]:
    """``ack 250118292 = 250118291 + 1`` for an answer to a SYN, to a FIN, or to both."""
    if "ACK" not in _flags(row):
        return []
    anomalies, roles = _anomalies(row), _text(row.role).split("+")
    answers_syn = {"SYN-ACK", "HANDSHAKE-ACK"} & set(roles) or {"connection-refused", "ack-mismatch"} & set(anomalies)
    bases = [peer.isn_before(position) if answers_syn and "ACK-OF-FIN" not in roles else None]
    bases.append(peer.fin_before(position) if "ACK-OF-FIN" in roles else None)
    return [_check(row.ack, base) for base in bases if base is not None]


def _check(ack: int, base: int) -> str:
    beyond = (int(ack) - base) % 2**32 - 1
    if not 0 <= beyond <= 2**16:
        return f"ack {ack} ≠ {base} + 1"
    return f"ack {ack} = {base} + 1" + (f" + {beyond} data" if beyond else "")


def _notes(row: Any) -> list[tuple[str, str]]:
    """Lines of the right-hand column, each with its classes: role and step, anomalies, times."""
    lines = [("b", part) for part in _role_lines(row)]
    anomalies = _anomalies(row)
    lines += [("o", f"{LEGAL_MARK} {a}") if a in LEGAL_ANOMALIES else ("w", f"{PROBLEM_MARK} {a}") for a in anomalies]
    if row.retransmission and not any(name.endswith("-retransmission") for name in anomalies):
        lines.append(("w", f"{PROBLEM_MARK} retransmission"))
    if not pd.isna(row.responds_to):
        lines.append(("q", f"answers frame {row.responds_to}{_later(row.response_time)}"))
    if not pd.isna(row.handshake_time):
        lines.append(("q", f"handshake took {duration_text(row.handshake_time)}"))
    return lines


def _later(time: pd.Timedelta) -> str:
    """``, 12.3 ms later``; earlier where the clock of the capture stepped back."""
    if pd.isna(time):
        return ""
    return f", {duration_text(abs(time))} {'earlier' if time < pd.Timedelta(0) else 'later'}"


def _role_lines(row: Any) -> list[str]:
    whole = _role_and_step(row)
    return [whole] if len(whole) <= 25 else whole.split(" · ", 1)


def _role_and_step(row: Any) -> str:
    """``SYN · 1/3``, ``ACK-OF-FIN+FIN · 2+3/4``, ``HANDSHAKE-ACK+FIN · 3/3, 1/4``."""
    steps = []
    if not pd.isna(row.handshake_step):
        steps.append(f"{row.handshake_step}/3")
    if not pd.isna(row.teardown_step):
        steps.append(f"{row.teardown_step}/4")
    return " · ".join(part for part in (_text(row.role), ", ".join(steps)) if part)


def _draw_band(canvas: _Canvas, run: pd.DataFrame, offsets: np.ndarray[Any, np.dtype[np.int64]]) -> None:
    """Fold a run of plain segments into one band."""
    y = canvas.y + 5
    canvas.parts.append(f'<rect class="f" x="{CLIENT_X}" y="{y}" width="{SERVER_X - CLIENT_X}" height="40" rx="3"/>')
    canvas.text(TIME_X, y + 12, "e", _seconds(int(offsets[0])))
    canvas.text(TIME_X, y + 37, "e", _seconds(int(offsets[-1])))
    canvas.text(MIDDLE_X, y + 16, "m b", f"{len(run):,} plain segments")
    canvas.text(MIDDLE_X, y + 32, "m", f"→ {_traffic(run, 'client')}\u2003← {_traffic(run, 'server')}")
    canvas.text(NOTE_X, y + 16, "q", f"frames {run['frame'].iloc[0]}\u2013{run['frame'].iloc[-1]}")
    pause = int(np.diff(offsets).max())
    if pause >= LONG_GAP_NS:
        canvas.text(NOTE_X, y + 30, "q", f"longest pause {duration_text(pd.Timedelta(pause, 'ns'))}")
    canvas.state_changes(_text(run["client_state"].iloc[0]), _text(run["server_state"].iloc[0]), y + 24, y + 24)
    canvas.advance(50)


def _traffic(run: pd.DataFrame, sender: str) -> str:
    lengths = run.loc[run["sender"] == sender, "length"]
    return f"{len(lengths):,} segments, {int(lengths.sum()):,} bytes"


def _draw_hidden(canvas: _Canvas, run: pd.DataFrame, stream: str) -> None:
    first, last = run["frame"].iloc[0], run["frame"].iloc[-1]
    lines = [
        f"{len(run):,} segments are not drawn here (frames {first}\u2013{last})",
        f"→ {_traffic(run, 'client')}\u2003← {_traffic(run, 'server')}",
        f"in Wireshark: tcp.stream == {stream} && frame.number in {{{first}..{last}}}",
    ]
    _draw_remark(canvas, lines)


def _draw_remark(canvas: _Canvas, lines: Iterable[str]) -> None:
    canvas.advance(6)
    for line in lines:
        canvas.text(MIDDLE_X, canvas.y + 13, "m q", line)
        canvas.advance(16, broken=True)
    canvas.advance(6)


def _draw_gap(canvas: _Canvas, nanoseconds: int) -> None:
    """Break the life lines where nothing was captured for long."""
    if nanoseconds < LONG_GAP_NS:
        return
    canvas.advance(4)
    canvas.text(MIDDLE_X, canvas.y + 15, "m q", f"{duration_text(pd.Timedelta(nanoseconds, 'ns'))} without a segment")
    for x in (CLIENT_X, SERVER_X):
        canvas.path("l", f"M{x - 6} {canvas.y + 2}l12-4M{x - 6} {canvas.y + 24}l12-4")
    canvas.advance(22, broken=True)
    canvas.advance(6)


def _draw_network_error(canvas: _Canvas, connection: pd.Series[Any]) -> None:
    """Tell of an ICMP error that answered the SYN; it is no TCP segment and so has no row of its own."""
    client, server = _text(connection["client_state"]), _text(connection["server_state"])
    if "unreachable" in _text(connection["anomalies"]).split("+"):
        canvas.advance(4)
        canvas.text(MIDDLE_X, canvas.y + 15, "m", "an ICMP error answered the SYN (no TCP segment)")
        canvas.text(NOTE_X, canvas.y + 15, "w", f"{PROBLEM_MARK} unreachable")
        canvas.state_changes(client, server, canvas.y + 15, canvas.y + 15)
        canvas.advance(22)


def _tuples(rows: pd.DataFrame) -> list[Any]:
    return list(rows.itertuples(index=False, name="Row"))


def _anomalies(row: Any) -> list[str]:
    return [name for name in _text(row.anomaly).split("+") if name]


def _flags(row: Any) -> list[str]:
    return _text(row.flags).split(", ")


def _text(value: Any) -> str:
    return "" if value is None or pd.isna(value) else str(value)


def _seconds(nanoseconds: int) -> str:
    return f"{nanoseconds / 1e9:.6f}".replace("-", MINUS)


def _xml(text: str) -> str:
    return escape(printable(text), quote=True)
