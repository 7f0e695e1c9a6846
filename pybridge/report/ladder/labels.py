# SPDX-License-Identifier: GPL-2.0-or-later
"""The texts of a ladder: labels and notes of each segment, and a description of the whole for screen readers."""

from __future__ import annotations

from collections.abc import Sequence

from pybridge.report.explanations import BENIGN_MARK, PROBLEM_MARK
from pybridge.report.ladder.missing import Missing
from pybridge.report.ladder.story import ROWS_BEFORE_CAP, LadderConnection, LadderEnd, LadderRow, Run, Story
from pybridge.report.language import Translate
from pybridge.tcp.vocabulary import BENIGN_ANOMALIES, FAILED, HARMLESS
from pybridge.text import endpoint, nanoseconds_text

WIDEST_NOTE = 27  # Latin letters

UNANSWERED = ("unanswered", "still-waiting", "unreachable")
"""Values of `establishment` of connections whose SYNs nobody answered."""

EVIDENCE_MARK = "\u25c6"
"""Before the diagnosis, at the frames that show it."""

RESET_NOTES = ("reset in mid-connection", "reset while closing", "reset after the close: harmless")
"""What a reset is, by the number of ends that have sent a FIN before."""


def label(story: Story, row: LadderRow) -> str:
    """Return flags, relative numbers and length in the words of Wireshark's Info column."""
    own, peer = story.ends(row)
    zero = row.seq_raw == 0 and row.has("RST")
    parts = [f"[{row.tcp_flags or '<None>'}]", f"Seq={0 if zero else _relative(row.seq_raw, own.base(row.position))}"]
    if row.has("ACK"):
        parts.append(f"Ack={_relative(row.ack_raw, peer.base(row.position))}")
    parts.append(f"Len={row.length}")
    return " ".join(parts)


def _relative(number: int, base: int | None) -> int:
    """Return the distance from the base: negative if slightly before it (a keep-alive), else counted upwards."""
    distance = (number - (base or 0)) % 2**32
    return distance - 2**32 if distance >= 2**32 - 2**16 else distance


def raw_numbers(story: Story, row: LadderRow, translate: Translate) -> str:
    """Return the numbers of the header, with the check of what is acknowledged; empty for plain segments."""
    if not row.role and "ack-mismatch" not in row.anomalies:
        return ""
    numbers = [f"seq {row.seq_raw}"]
    if row.has("ACK"):
        base = _acknowledged(row, story.ends(row)[1])
        numbers.append(f"ack {row.ack_raw}" if base is None else _check(row.ack_raw, base, translate))
    return " · ".join(numbers)


def _acknowledged(row: LadderRow, peer: LadderEnd) -> int | None:
    """Return the number of the SYN or FIN that a segment answers; that of the FIN if it answers both."""
    if "ACK-OF-FIN" in row.roles:
        return peer.fin_before(row.position)
    answers_syn = {"SYN-ACK", "HANDSHAKE-ACK"} & set(row.roles) or {"connection-refused", "ack-mismatch"} & set(row.anomalies)
    return peer.isn_before(row.position) if answers_syn else None


def _check(ack: int, base: int, translate: Translate) -> str:
    """Return, for example, ``ack 250118292 = 250118291 + 1``."""
    beyond = (ack - base) % 2**32 - 1
    if not 0 <= beyond <= 2**16:
        return f"ack {ack} ≠ {base} + 1"
    return f"ack {ack} = {base} + 1" + (translate(" + {count} data").format(count=beyond) if beyond else "")


def notes(story: Story, row: LadderRow, translate: Translate) -> list[tuple[str, str]]:
    """Return the lines beside a segment, each after its CSS class: role and step, diagnosis, anomalies, meaning, times."""
    lines = [("bold", part) for part in _role_lines(row, translate)]
    if str(row.frame) in (story.connection.evidence or "").split("+"):
        harmless = story.connection.diagnosis in HARMLESS
        lines.append(("benign" if harmless else "warning", f"{EVIDENCE_MARK} {story.connection.diagnosis}"))
    for name in row.anomalies:
        lines.append(("benign", f"{BENIGN_MARK} {name}") if name in BENIGN_ANOMALIES else ("warning", f"{PROBLEM_MARK} {name}"))
    lines += [
        ("small", text)
        for text in (*_close_notes(row, translate), *_reset_notes(story, row, translate), *_time_notes(story, row, translate))
    ]
    return lines


def _close_notes(row: LadderRow, translate: Translate) -> list[str]:
    texts = []
    if "FIN" in row.roles and not row.retransmission:
        texts.append(translate("passive close") if "3" in (row.teardown_step or "") else translate("active close"))
    if "ACK-OF-FIN" in row.roles and {row.client_state, row.server_state} == {"FIN-WAIT-2", "CLOSE-WAIT"}:
        open_end = translate("client") if row.client_state == "CLOSE-WAIT" else translate("server")
        texts.append(translate("half-close: {end} can still send").format(end=open_end))
    return texts


def _reset_notes(story: Story, row: LadderRow, translate: Translate) -> list[str]:
    if "RST" not in row.roles or "rst-ignored" in row.anomalies or story.connection.establishment in FAILED:
        return []
    return [translate(RESET_NOTES[sum(end.fin_before(row.position) is not None for end in story.ends(row))])]


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
    """Return the segment that completed the close: the last acknowledgement of a FIN that came `teardown` after a FIN."""
    fins = {*story.client.fin_times, *story.server.fin_times}
    rows = (row for row in reversed(story.items) if isinstance(row, LadderRow) and "ACK-OF-FIN" in row.roles)
    return next((row for row in rows if row.time - teardown in fins), None)


def _answer(frame: int, time: int | None, translate: Translate) -> str:
    """Return which frame is answered, and when; earlier only where the clock of the capture stepped back."""
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
    """Return the width of a text in Latin letters; a Chinese character is as wide as two."""
    return sum(2 if letter > "\u2e7f" else 1 for letter in text)


def _role_and_step(row: LadderRow, translate: Translate) -> list[str]:
    """Return, for example, ``SYN``, ``1/3``; or ``ACK-OF-FIN+FIN``, ``2+3/4``; or ``HANDSHAKE-ACK+FIN``, ``3/3, 1/4``."""
    steps = []
    if row.handshake_step is not None:
        steps.append(translate("{step}/3").format(step=row.handshake_step))
    if row.teardown_step is not None:
        steps.append(translate("{step}/4").format(step=row.teardown_step))
    return [part for part in (row.role, ", ".join(steps)) if part]


def traffic(run: Run, translate: Translate) -> str:
    """Return the numbers of segments and bytes in both directions."""
    parts = [
        f"{arrow} {counted_segments(segments, translate)}, {_counted_bytes(payload, translate)}"
        for arrow, segments, payload in zip("→←", run.segments, run.payload, strict=True)
    ]
    return "\u2003".join(parts)


def gap(item: LadderRow | Run, nanoseconds: int, translate: Translate) -> tuple[str, str | None]:
    """Return what stands where no segment was captured for long, and which end waited to repeat a segment, if one did."""
    time = nanoseconds_text(nanoseconds)
    if isinstance(item, LadderRow) and item.retransmission:
        return translate("waited {time}").format(time=time), item.sender
    return translate("{time} without a segment").format(time=time), None


def was_unanswered(story: Story, row: LadderRow) -> bool:
    """Whether nobody answered this SYN, so that nothing shows that it arrived."""
    return row.role == "SYN" and story.connection.establishment in UNANSWERED


def hidden_segments(story: Story, run: Run, translate: Translate) -> list[str]:
    """Return the lines that stand for segments that are not drawn: how many, the traffic, a display filter for them."""
    text = translate("{segments} are not drawn here (frames {first}–{last})")  # noqa: RUF001
    display_filter = f"tcp.stream == {story.stream} && frame.number in {{{run.first_frame}..{run.last_frame}}}"
    return [
        text.format(segments=counted_segments(sum(run.segments), translate), first=run.first_frame, last=run.last_frame),
        traffic(run, translate),
        translate("in Wireshark: {filter}").format(filter=display_filter),
    ]


def counted_segments(count: int, translate: Translate) -> str:
    """Return, for example, ``1 segment`` or ``1,234 segments``."""
    return translate("1 segment") if count == 1 else translate("{count} segments").format(count=f"{count:,}")


def _counted_bytes(count: int, translate: Translate) -> str:
    return translate("1 byte") if count == 1 else translate("{count} bytes").format(count=f"{count:,}")


def title(story: Story, translate: Translate) -> str:
    """Return the title of the drawing: the connection's number and ends."""
    client, server = heads(story.connection)
    return translate("TCP connection {stream}: {client} to {server}").format(stream=story.stream, client=client, server=server)


def heads(connection: LadderConnection) -> tuple[str, str]:
    """Return both ends with their ports, the client first."""
    return endpoint(connection.client, connection.client_port), endpoint(connection.server, connection.server_port)


def description(story: Story, items: Sequence[LadderRow | Run | Missing], translate: Translate) -> str:
    """Describe the drawing in words: the outcome, then the segments with a role and the missing steps."""
    connection = story.connection
    closed_by = connection.closed_by
    closing = translate("Closing: {termination}, begun by {end}.") if closed_by else translate("Closing: {termination}.")
    end = {"client": translate("client"), "server": translate("server"), "both": translate("both")}.get(
        closed_by or "", closed_by
    )
    steps = [text for item in items if (text := _step_text(item, translate))][:ROWS_BEFORE_CAP]
    sentences = [
        translate("{segments}.").format(segments=counted_segments(story.segments, translate)),
        translate("Opening: {establishment}.").format(establishment=connection.establishment),
        closing.format(termination=connection.termination, end=end),
        *([translate("{steps}.").format(steps=translate("; ").join(steps))] if steps else []),
    ]
    return " ".join(sentences)


def _step_text(item: LadderRow | Run | Missing, translate: Translate) -> str:
    if isinstance(item, Missing):
        return translate(item.label)
    if isinstance(item, Run) or not (item.role or item.anomaly):
        return ""
    sender = translate("client") if item.sender == "client" else translate("server")
    text = translate("frame {frame} {sender} {role}").format(
        frame=item.frame, sender=sender, role=" · ".join(_role_and_step(item, translate))
    ).rstrip()  # fmt: skip
    return text + (f" ({', '.join(item.anomalies)})" if item.anomalies else "")
