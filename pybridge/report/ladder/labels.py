# SPDX-License-Identifier: GPL-2.0-or-later
"""What a ladder says of each segment: numbers, checks, notes; and the whole in words, for those who do not see it."""

from __future__ import annotations

from collections.abc import Sequence

from pybridge.report.explanations import BENIGN_MARK, PROBLEM_MARK
from pybridge.report.ladder.missing import Missing
from pybridge.report.ladder.story import ROWS_BEFORE_CAP, LadderConnection, LadderEnd, LadderRow, Run, Story
from pybridge.report.language import Translate
from pybridge.tcp.vocabulary import BENIGN_ANOMALIES
from pybridge.text import endpoint, nanoseconds_text

WIDEST_NOTE = 27  # Latin letters


def label(story: Story, row: LadderRow) -> str:
    """Flags, relative numbers and payload in the words of Wireshark's Info column."""
    own, peer = story.ends(row)
    zero = row.seq_raw == 0 and row.has("RST")
    parts = [f"[{row.tcp_flags or '<None>'}]", f"Seq={0 if zero else _relative(row.seq_raw, own.base(row.position))}"]
    if row.has("ACK"):
        parts.append(f"Ack={_relative(row.ack_raw, peer.base(row.position))}")
    parts.append(f"Len={row.length}")
    return " ".join(parts)


def _relative(number: int, base: int | None) -> int:
    """Distance from the base; slightly before it is negative (a keep-alive), anything else counts up."""
    distance = (number - (base or 0)) % 2**32
    return distance - 2**32 if distance >= 2**32 - 2**16 else distance


def raw_numbers(story: Story, row: LadderRow, say: Translate) -> str:
    """Numbers as they are in the header, with the check of what is acknowledged; empty for plain segments."""
    if not row.role and "ack-mismatch" not in row.anomalies:
        return ""
    numbers = [f"seq {row.seq_raw}"]
    if row.has("ACK"):
        base = _acknowledged(row, story.ends(row)[1])
        numbers.append(f"ack {row.ack_raw}" if base is None else _check(row.ack_raw, base, say))
    return " · ".join(numbers)


def _acknowledged(row: LadderRow, peer: LadderEnd) -> int | None:
    """Number of the SYN or FIN that a segment answers; the FIN if it answers both."""
    if "ACK-OF-FIN" in row.roles:
        return peer.fin_before(row.position)
    answers_syn = {"SYN-ACK", "HANDSHAKE-ACK"} & set(row.roles) or {"connection-refused", "ack-mismatch"} & set(row.anomalies)
    return peer.isn_before(row.position) if answers_syn else None


def _check(ack: int, base: int, say: Translate) -> str:
    """``ack 250118292 = 250118291 + 1``."""
    beyond = (ack - base) % 2**32 - 1
    if not 0 <= beyond <= 2**16:
        return f"ack {ack} ≠ {base} + 1"
    return f"ack {ack} = {base} + 1" + (say(" + {count} data").format(count=beyond) if beyond else "")


def notes(story: Story, row: LadderRow, say: Translate) -> list[tuple[str, str]]:
    """Lines beside a segment, each with its classes: role and step, anomalies, what it means, times."""
    lines = [("b", part) for part in _role_lines(row, say)]
    for name in row.anomalies:
        lines.append(("o", f"{BENIGN_MARK} {name}") if name in BENIGN_ANOMALIES else ("w", f"{PROBLEM_MARK} {name}"))
    lines += [("q", text) for text in (*_close_notes(row, say), *_time_notes(story, row, say))]
    return lines


def _close_notes(row: LadderRow, say: Translate) -> list[str]:
    texts = []
    if "FIN" in row.roles and not row.retransmission:
        texts.append(say("passive close") if "3" in (row.teardown_step or "") else say("active close"))
    if "ACK-OF-FIN" in row.roles and {row.client_state, row.server_state} == {"FIN-WAIT-2", "CLOSE-WAIT"}:
        open_end = say("client") if row.client_state == "CLOSE-WAIT" else say("server")
        texts.append(say("half-close: {end} can still send").format(end=open_end))
    return texts


def _time_notes(story: Story, row: LadderRow, say: Translate) -> list[str]:
    texts = []
    if row.responds_to is not None:
        texts.append(_answer(row.responds_to, row.response_time, say))
    if row.handshake_time is not None:
        texts.append(say("handshake took {time}").format(time=nanoseconds_text(row.handshake_time)))
    teardown = story.connection.teardown_time
    if teardown is not None and row is _completing_row(story, teardown):
        texts.append(say("teardown took {time}").format(time=nanoseconds_text(teardown)))
    return texts


def _completing_row(story: Story, teardown: int) -> LadderRow | None:
    """The segment that completed the close: the last acknowledgement of a FIN so long after a FIN."""
    fins = {*story.client.fin_times, *story.server.fin_times}
    rows = (row for row in reversed(story.items) if isinstance(row, LadderRow) and "ACK-OF-FIN" in row.roles)
    return next((row for row in rows if row.time - teardown in fins), None)


def _answer(frame: int, time: int | None, say: Translate) -> str:
    """Earlier only where the clock of the capture stepped back."""
    if time is None:
        return say("answers frame {frame}").format(frame=frame)
    template = say("answers frame {frame}, {time} earlier") if time < 0 else say("answers frame {frame}, {time} later")
    return template.format(frame=frame, time=nanoseconds_text(abs(time)))


def _role_lines(row: LadderRow, say: Translate) -> list[str]:
    parts = _role_and_step(row, say)
    whole = " · ".join(parts)
    return [whole] if width(whole) <= WIDEST_NOTE else parts


def width(text: str) -> int:
    """How wide a text is, in Latin letters: a Chinese character is as wide as two."""
    return sum(2 if letter > "\u2e7f" else 1 for letter in text)


def _role_and_step(row: LadderRow, say: Translate) -> list[str]:
    """``SYN``, ``1/3``; ``ACK-OF-FIN+FIN``, ``2+3/4``; ``HANDSHAKE-ACK+FIN``, ``3/3, 1/4``."""
    steps = []
    if row.handshake_step is not None:
        steps.append(say("{step}/3").format(step=row.handshake_step))
    if row.teardown_step is not None:
        steps.append(say("{step}/4").format(step=row.teardown_step))
    return [part for part in (row.role, ", ".join(steps)) if part]


def traffic(run: Run, say: Translate) -> str:
    """Segments and bytes in both directions."""
    parts = [
        f"{arrow} {counted_segments(segments, say)}, {_counted_bytes(payload, say)}"
        for arrow, segments, payload in zip("→←", run.segments, run.payload, strict=True)
    ]
    return "\u2003".join(parts)


def counted_segments(count: int, say: Translate) -> str:
    """``1 segment``, ``1,234 segments``."""
    return say("1 segment") if count == 1 else say("{count} segments").format(count=f"{count:,}")


def _counted_bytes(count: int, say: Translate) -> str:
    return say("1 byte") if count == 1 else say("{count} bytes").format(count=f"{count:,}")


def title(story: Story, say: Translate) -> str:
    """Which connection it is."""
    client, server = heads(story.connection)
    return say("TCP connection {stream}: {client} to {server}").format(stream=story.stream, client=client, server=server)


def heads(connection: LadderConnection) -> tuple[str, str]:
    """Both ends with their ports."""
    return endpoint(connection.client, connection.client_port), endpoint(connection.server, connection.server_port)


def description(story: Story, items: Sequence[LadderRow | Run | Missing], say: Translate) -> str:
    """What the drawing shows: the outcome, and the segments that have a role or should have been there."""
    about = story.connection
    closing = say("Closing: {termination}, begun by {end}.") if about.closed_by else say("Closing: {termination}.")
    end = {"client": say("client"), "server": say("server"), "both": say("both")}.get(about.closed_by or "", about.closed_by)
    told = [text for item in items if (text := _spoken(item, say))][:ROWS_BEFORE_CAP]
    sentences = [
        say("{segments}.").format(segments=counted_segments(story.segments, say)),
        say("Opening: {establishment}.").format(establishment=about.establishment),
        closing.format(termination=about.termination, end=end),
        *([say("{steps}.").format(steps=say("; ").join(told))] if told else []),
    ]
    return " ".join(sentences)


def _spoken(item: LadderRow | Run | Missing, say: Translate) -> str:
    if isinstance(item, Missing):
        return say(item.label)
    if isinstance(item, Run) or not (item.role or item.anomaly):
        return ""
    sender = say("client") if item.sender == "client" else say("server")
    text = say("frame {frame} {sender} {role}").format(
        frame=item.frame, sender=sender, role=" · ".join(_role_and_step(item, say))
    ).rstrip()  # fmt: skip
    return text + (f" ({', '.join(item.anomalies)})" if item.anomalies else "")
