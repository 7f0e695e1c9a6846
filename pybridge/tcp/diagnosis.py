# SPDX-License-Identifier: GPL-2.0-or-later
"""The diagnosis of a connection: why it went as it did, where to look for the cause, and the frames that show it (rule D8)."""

from __future__ import annotations

from typing import NamedTuple

from pybridge.tcp.state import LONG, Connection, is_beyond

SLOW = 1_000_000_000
"""Nanoseconds from which on a handshake is slow (D8)."""


class Diagnosis(NamedTuple):
    """What the rules D come to: the columns `diagnosis`, `suspect` and `evidence`."""

    diagnosis: str
    suspect: str | None = None
    evidence: str | None = None


def diagnosis_of(connection: Connection, *, establishment: str, captured: str, still_waiting: bool, end: int) -> Diagnosis:
    """Return the diagnosis of the latest attempt (rule D8).

    Parameters
    ----------
    connection : Connection
    establishment, captured, still_waiting
        Its columns of these names (rules C4, C18, C23).
    end : int
        Nanoseconds: the latest time of the capture.
    """
    return (
        _of_failure(connection, establishment, still_waiting=still_waiting)
        or _of_silence(connection)
        or (_of_one_side(connection, establishment, captured) if captured != "both" else None)
        or _of_reset(connection)
        or (_of_half_open(connection, end) if establishment == "half-open" else None)
        or _of_half_close(connection, end)
        or _of_slow_opening(connection)
        or _of_close(connection)
    )


def _of_failure(connection: Connection, establishment: str, *, still_waiting: bool) -> Diagnosis | None:
    """Return the diagnosis of an opening without the answer that it asked for."""
    if establishment in ("unanswered", "invalid-answer") and connection.old_answer is not None:
        return Diagnosis("old-connection-held", None, _frames(connection.old_answer))
    if establishment == "unanswered":
        return Diagnosis("still-open" if still_waiting else "server-silent", None, _frames(connection.client.syn_frame))
    if establishment == "unreachable" and connection.error_kind is not None:
        return Diagnosis(connection.error_kind, connection.error_suspect, _frames(connection.error_frame))
    if establishment == "refused":
        if connection.injected_rst is not None:
            return Diagnosis("filtered", connection.injected_suspect(), _frames(connection.reset_frame))
        if connection.reset_kind == "injected-reset":
            return Diagnosis("filtered", connection.reset_suspect, _frames(connection.reset_frame))
        return Diagnosis("port-closed", None, _frames(connection.reset_frame))
    if establishment == "invalid-answer":
        return Diagnosis("invalid-answer", None, _frames(connection.invalid_frame))
    return None


def _of_one_side(connection: Connection, establishment: str, captured: str) -> Diagnosis | None:
    """Return the diagnosis of a connection with segments of one end only: what the capture lacks, if that end shows it."""
    if connection.reset_kind == "port-closed":
        return None
    absent = connection.server if captured == "client" else connection.client
    moved = absent.next_sent is not None and absent.first_seq is not None and is_beyond(absent.next_sent, absent.first_seq)
    return Diagnosis("one-sided", "capture" if establishment == "partial" or moved else None)


def _of_reset(connection: Connection) -> Diagnosis | None:
    """Return the diagnosis of an attempt that an RST has ended, or should have."""
    if connection.injected_rst is not None:
        return Diagnosis("injected-reset", connection.injected_suspect(), _frames(connection.injected_rst))
    kind = connection.reset_kind
    if kind is None or kind == "reset-after-close" or connection.close_complete:
        return None
    before = {"idle-timeout": connection.silence_frame, "invalid-answer": connection.invalid_frame}.get(kind)
    return Diagnosis(kind, connection.reset_suspect, _frames(before, connection.reset_frame))


def _of_half_open(connection: Connection, end: int) -> Diagnosis | None:
    """Return the diagnosis of an opening whose client has not answered the SYN-ACK."""
    if connection.delay_kind == "syn-ack-lost":
        return Diagnosis("syn-ack-lost", None, _frames(connection.delay_frame))
    server = connection.server
    waited = server.syn_ack_sent and connection.delay_kind is None and end - server.syn_ack_frame_time >= LONG
    if server.syn_ack_sent > 1 or waited:
        return Diagnosis("peer-vanished", None, _frames(server.syn_ack_frame))
    return None


def _of_silence(connection: Connection) -> Diagnosis | None:
    """Return the diagnosis of an end that does not answer any more."""
    if connection.reset_kind == "peer-vanished":
        return Diagnosis("peer-vanished", None, _frames(connection.reset_frame))
    for each in (connection.client, connection.server):
        if each.repeats >= 2 and connection.reset_by is None:
            return Diagnosis("peer-vanished", None, _frames(each.repeat_frame))
    return None


def _of_half_close(connection: Connection, end: int) -> Diagnosis | None:
    """Return the diagnosis of an end that does not close, long after its peer has."""
    if connection.reset_by is not None:
        return None
    for each in (connection.client, connection.server):
        other = connection.other(each)
        fin = connection.fin_of(each)
        if fin is None or not fin.acked or connection.fin_of(other) is not None:
            continue
        if other.went_on_after(fin) or each.early_ack is not None or not connection.was_open(other):
            continue
        if end - fin.first_time >= LONG:
            return Diagnosis("close-not-finished", connection.name(other), _frames(fin.frame))
    return None


def _of_slow_opening(connection: Connection) -> Diagnosis | None:
    """Return what the opening waited for."""
    if connection.old_answer is not None:
        return Diagnosis("old-connection-held", None, _frames(connection.old_answer))
    if connection.delay_kind is not None:
        suspect = connection.delay_suspect if connection.opened else None
        return Diagnosis(connection.delay_kind, suspect, _frames(connection.delay_frame))
    total, server, client = connection.handshake_time, connection.server_response_time, connection.client_response_time
    if total is None or server is None or client is None or total < SLOW or not connection.handshake_frame:
        return None
    side = "server" if server * 5 >= total * 4 else "client" if client * 5 >= total * 4 else "path"
    return Diagnosis(f"slow-{side}", None, _frames(connection.handshake_frame))


def _of_close(connection: Connection) -> Diagnosis:
    """Return the diagnosis of a connection without trouble."""
    if connection.reset_kind == "reset-after-close":
        return Diagnosis("reset-after-close", None, _frames(connection.reset_frame))
    if connection.closing_rst is not None:
        return Diagnosis("reset-after-close", None, _frames(connection.closing_rst))
    return Diagnosis("orderly" if connection.both_closed() else "still-open")


def _frames(*frames: int | None) -> str | None:
    """Return frame numbers joined with `+`, each once."""
    return "+".join(str(frame) for frame in dict.fromkeys(frames) if frame) or None
