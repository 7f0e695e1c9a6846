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


def raw_numbers(story: Story, row: LadderRow, translate: Translate) -> str:
    """Numbers as they are in the header, with the check of what is acknowledged; empty for plain segments."""
    if not row.role and "ack-mismatch" not in row.anomalies:
        return ""
    numbers = [f"seq {row.seq_raw}"]
    if row.has("ACK"):
        base = _acknowledged(row, story.ends(row)[1])
        numbers.append(f"ack {row.ack_raw}" if base is None else _check(row.ack_raw, base, translate))
    return " · ".join(numbers)


def _acknowledged(row: LadderRow, peer: LadderEnd) -> int | None:
    """Number of the SYN or FIN that a segment answers; the FIN if it answers both."""
    if "ACK-OF-FIN" in row.roles:
        return peer.fin_before(row.position)
    answers_syn = {"SYN-ACK", "HANDSHAKE-ACK"} & set(row.roles) or {"connection-refused", "ack-mismatch"} & set(row.anomalies)
    return peer.isn_before(row.position) if answers_syn else None


def _check(ack: int, base: int, translate: Translate) -> str:
    """``ack 250118292 = 250118291 + 1``."""
    beyond = (ack - base) % 2**32 - 1
    if not 0 <= beyond <= 2**16:
        return f"ack {ack} ≠ {base} + 1"
    return f"ack {ack} = {base} + 1" + (translate(" + {count} data").format(count=beyond) if beyond else "")


def notes(story: Story, row: LadderRow, translate: Translate) -> list[tuple[str, str]]:
    """Lines beside a segment, each with its classes: role and step, anomalies, what it means, times."""
    lines = [("b", part) for part in _role_lines(row, translate)]
    for name in row.anomalies:
        lines.append(("o", f"{BENIGN_MARK} {name}") if name in BENIGN_ANOMALIES else ("w", f"{PROBLEM_MARK} {name}"))
    lines += [("q", text) for text in (*_close_notes(row, translate), *_time_notes(story, row, translate))]
    return lines


def _close_notes(row: LadderRow, translate: Translate) -> list[str]:
    texts = []
    if "FIN" in row.roles and not row.retransmission:
        texts.append(translate("passive close") if "3" in (row.teardown_step or "") else translate("active close"))
    if "ACK-OF-FIN" in row.roles and {row.client_state, row.server_state} == {"FIN-WAIT-2", "CLOSE-WAIT"}:
        open_end = translate("client") if row.client_state == "CLOSE-WAIT" else translate("server")
        texts.append(translate("half-close: {end} can still send").format(end=open_end))
    return texts


def _time_notes(story: Story, row: LadderRow, translate: Translate) -> list[str]:
    texts = []
    if row.responds_to is not None:
        texts.append(_answer(row.responds_to, row.response_time, translate))
    if row.handshake_time is not None:
        texts.append(translate("handshake took {time}").format(time=nanoseconds_text(row.handshake_time)))
    teardown = story.connection.teardown_time
    if teardown is not None and row is _completing_row(story, teardown):
        texts.append(translate("teardown took {time}").format(time=nanoseconds_text(teardown)))
    return texts


def _completing_row(story: Story, teardown: int) -> LadderRow | None:
    """The segment that completed the close: the last acknowledgement of a FIN so long after a FIN."""
    fins = {*story.client.fin_times, *story.server.fin_times}
    rows = (row for row in reversed(story.items) if isinstance(row, LadderRow) and "ACK-OF-FIN" in row.roles)
    return next((row for row in rows if row.time - teardown in fins), None)


def _answer(frame: int, time: int | None, translate: Translate) -> str:
    """Earlier only where the clock of the capture stepped back."""
    if time is None:
        return translate("answers frame {frame}").format(frame=frame)
    template = (
        translate("answers frame {frame}, {time} earlier") if time < 0 else translate("answers frame {frame}, {time} later")
    )
    return template.format(frame=frame, time=nanoseconds_text(abs(time)))


def _role_lines(row: LadderRow, translate: Translate) -> list[str]:
    parts = _role_and_step(row, translate)
    whole = " · ".join(parts)
    return [whole] if width(whole) <= WIDEST_NOTE else parts


def width(text: str) -> int:
    """How wide a text is, in Latin letters: a Chinese character is as wide as two."""
    return sum(2 if letter > "\u2e7f" else 1 for letter in text)


def _role_and_step(row: LadderRow, translate: Translate) -> list[str]:
    """``SYN``, ``1/3``; ``ACK-OF-FIN+FIN``, ``2+3/4``; ``HANDSHAKE-ACK+FIN``, ``3/3, 1/4``."""
    steps = []
    if row.handshake_step is not None:
        steps.append(translate("{step}/3").format(step=row.handshake_step))
    if row.teardown_step is not None:
        steps.append(translate("{step}/4").format(step=row.teardown_step))
    return [part for part in (row.role, ", ".join(steps)) if part]


def traffic(run: Run, translate: Translate) -> str:
    """Segments and bytes in both directions."""
    parts = [
        f"{arrow} {counted_segments(segments, translate)}, {_counted_bytes(payload, translate)}"
        for arrow, segments, payload in zip("→←", run.segments, run.payload, strict=True)
    ]
    return "\u2003".join(parts)


def counted_segments(count: int, translate: Translate) -> str:
    """``1 segment``, ``1,234 segments``."""
    return translate("1 segment") if count == 1 else translate("{count} segments").format(count=f"{count:,}")


def _counted_bytes(count: int, translate: Translate) -> str:
    return translate("1 byte") if count == 1 else translate("{count} bytes").format(count=f"{count:,}")


def title(story: Story, translate: Translate) -> str:
    """Which connection it is."""
    client, server = heads(story.connection)
    return translate("TCP connection {stream}: {client} to {server}").format(stream=story.stream, client=client, server=server)


def heads(connection: LadderConnection) -> tuple[str, str]:
    """Both ends with their ports."""
    return endpoint(connection.client, connection.client_port), endpoint(connection.server, connection.server_port)


def description(story: Story, items: Sequence[LadderRow | Run | Missing], translate: Translate) -> str:
    """What the drawing shows: the outcome, and the segments that have a role or should have been there."""
    about = story.connection
    closing = translate("Closing: {termination}, begun by {end}.") if about.closed_by else translate("Closing: {termination}.")
    end = {"client": translate("client"), "server": translate("server"), "both": translate("both")}.get(
        about.closed_by or "", about.closed_by
    )
    told = [text for item in items if (text := _spoken(item, translate))][:ROWS_BEFORE_CAP]
    sentences = [
        translate("{segments}.").format(segments=counted_segments(story.segments, translate)),
        translate("Opening: {establishment}.").format(establishment=about.establishment),
        closing.format(termination=about.termination, end=end),
        *([translate("{steps}.").format(steps=translate("; ").join(told))] if told else []),
    ]
    return " ".join(sentences)


def _spoken(item: LadderRow | Run | Missing, translate: Translate) -> str:
    if isinstance(item, Missing):
        return translate(item.label)
    if isinstance(item, Run) or not (item.role or item.anomaly):
        return ""
    sender = translate("client") if item.sender == "client" else translate("server")
    text = translate("frame {frame} {sender} {role}").format(
        frame=item.frame, sender=sender, role=" · ".join(_role_and_step(item, translate))
    ).rstrip()  # fmt: skip
    return text + (f" ({', '.join(item.anomalies)})" if item.anomalies else "")
