# SPDX-License-Identifier: GPL-2.0-or-later
"""The monitor's events, its counts by server, and the release of connections; no tshark is needed."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise

import pytest

from pybridge.live.monitor import OTHERS, OUTRIGHT, SECOND, WAITING, Event, Limits, Monitor
from pybridge.live.peers import Peer
from pybridge.tcp.model import ConnectionRow, NetworkError, Segment
from pybridge.tcp.vocabulary import ACK, FIN, OPENED, RST, SYN
from tests.support.listings import LISTINGS, expectations
from tests.support.machines import PythonMachine

PATIENT = Limits(answer_timeout=1e6, close_timeout=1e6, idle_timeout=1e6)
HOUR = 3600


def follow(monitor: Monitor, segments: Iterable[Segment | NetworkError]) -> list[Event]:
    return [event for segment in segments for event in monitor.feed(segment)]


def conversation(stream: int, start: float, *, port: int = 0, server: str = "192.0.2.2") -> Iterator[Segment]:
    """Yield a handshake, a request and a close, a millisecond apart."""
    client, web = ("192.0.2.1", port or 1024 + stream % 60_000), (server, 80)
    sent = [
        (client, web, SYN, 100, 0, 0),
        (web, client, SYN | ACK, 300, 101, 0),
        (client, web, ACK, 101, 301, 0),
        (client, web, ACK, 101, 301, 10),
        (web, client, FIN | ACK, 301, 111, 0),
        (client, web, FIN | ACK, 111, 302, 0),
        (web, client, ACK, 302, 112, 0),
    ]
    for number, (source, destination, flags, seq, ack, length) in enumerate(sent):
        time = int(start * SECOND) + number * 1_000_000
        yield Segment(number + 1, time, stream, *source, *destination, flags, seq, ack, length)


def syn(stream: int, start: float) -> Segment:
    return next(conversation(stream, start))


def told(events: Iterable[Event]) -> list[str]:
    return [f"{event.what} {event.reason}" for event in events]


# Events


@pytest.mark.parametrize("name", LISTINGS)
def test_the_events_of_a_capture_agree_with_its_connections(name: str) -> None:
    machine, rows = PythonMachine(), list[ConnectionRow]()
    monitor = Monitor(PATIENT, rows.append)
    seen = [event for event, _ in expectations(LISTINGS[name])]
    for event in seen:
        machine.take(event)
    events = [*follow(monitor, seen), *monitor.finish()]
    assert {row.stream: row for row in rows} == machine.rows()
    for stream, row in machine.rows().items():
        mine = [event for event in events if event.stream == stream]
        last = mine[-1] if mine else None
        if row.still_waiting:
            assert last is None
        elif row.establishment in OUTRIGHT | WAITING:
            assert last is not None
            assert ("failed", row.establishment) == (last.what, last.reason)
        if row.establishment in OPENED:
            assert ("opened", row.establishment) in {
                (event.what, event.reason) for event in mine
            } or row.establishment == "complete"
        if row.termination in ("four-way", "three-way"):
            assert last is not None
            assert ("closed", row.termination, row.closed_by) == (last.what, last.reason, last.closed_by)
        assert all(before[2:] != after[2:] for before, after in pairwise(mine))


def test_a_conversation_is_told_as_it_happens() -> None:
    events = follow(Monitor(), conversation(0, 1))
    assert told(events) == ["opened complete", "closed three-way"]
    opened, closed = events
    assert (opened.time, opened.duration) == (SECOND + 2_000_000, 2_000_000)
    assert (closed.time, closed.duration, closed.closed_by) == (SECOND + 6_000_000, 6_000_000, "server")


def test_an_opening_without_answer_has_failed_after_a_while_and_may_open_later() -> None:
    monitor = Monitor()
    segments = list(conversation(0, 0))
    assert follow(monitor, segments[:1]) == []
    assert told(monitor.advance_to(9 * SECOND)) == []
    failed = list(monitor.advance_to(60 * SECOND))
    assert [(event.time, event.what, event.reason) for event in failed] == [(10 * SECOND, "failed", "unanswered")]
    again = [segment._replace(time=segment.time + 63 * SECOND) for segment in segments]
    assert told(follow(monitor, again)) == ["opened complete", "closed three-way"]
    assert (monitor.servers["192.0.2.2", 80].opened, monitor.servers["192.0.2.2", 80].failures["unanswered"]) == (1, 1)


def test_a_syn_that_is_refused_three_times_is_one_failure() -> None:
    monitor = Monitor()
    refused = [syn(0, 0), Segment(2, 1, 0, "192.0.2.2", 80, "192.0.2.1", 1024, RST | ACK, 0, 101, 0)]
    events = [event for pause in (0, 1, 2) for event in follow(monitor, [one._replace(time=one.time + pause) for one in refused])]
    assert told(events) == ["failed refused"]


def test_a_client_that_gives_up_by_an_rst_has_failed_at_once() -> None:
    monitor = Monitor()
    given_up = Segment(2, SECOND, 0, "192.0.2.1", 1024, "192.0.2.2", 80, RST, 101, 0, 0)
    assert told(follow(monitor, [syn(0, 0), given_up])) == ["failed unanswered"]
    assert told(monitor.finish()) == []
    assert monitor.servers["192.0.2.2", 80].failures["unanswered"] == 1


def test_a_client_that_gets_only_invalid_answers_has_failed_after_a_while() -> None:
    monitor = Monitor()
    without_ack = Segment(2, 1, 0, "192.0.2.2", 80, "192.0.2.1", 1024, RST, 0, 0, 0)
    assert told(follow(monitor, [syn(0, 0), without_ack])) == []
    assert told(monitor.advance_to(60 * SECOND)) == ["failed invalid-answer"]
    assert monitor.servers["192.0.2.2", 80].failures.total() == 1


def test_what_still_waits_when_the_capture_ends_has_failed() -> None:
    monitor = Monitor()
    assert follow(monitor, list(conversation(0, 0))[:2]) == []
    assert told(monitor.finish()) == ["failed half-open"]
    assert monitor.tracked_connections == 0


def test_an_unreachable_server_is_told_with_the_network_error() -> None:
    monitor = Monitor()
    error = NetworkError(2, 5, None, "192.0.2.1", 1024, "192.0.2.2", 80)
    assert told(follow(monitor, [syn(0, 0), error])) == ["failed unreachable"]
    assert monitor.servers["192.0.2.2", 80].failures.total() == 1


# The table by server


def test_each_server_has_its_counts_and_times() -> None:
    monitor = Monitor()
    follow(monitor, [*conversation(0, 0), *conversation(1, 1), *conversation(2, 2, server="192.0.2.3")])
    first = monitor.servers["192.0.2.2", 80]
    assert (first.opened, first.connections, first.failures.total(), first.waited) == (2, 2, 0, 0)
    median, most = first.handshake_time(0.5), first.handshake_time(0.95)
    assert median is not None
    assert most is not None
    assert abs(median - 2_000_000) < 100_000, "to 5 %"
    assert most == median
    assert monitor.servers["192.0.2.3", 80].opened == 1
    assert sum(client.opened for client in monitor.clients.values()) == 3


def test_a_peer_without_a_handshake_has_no_time() -> None:
    assert Peer().handshake_time(0.5) is None


def test_resets_are_counted_by_when_they_came_and_waiting_is_added_up() -> None:
    monitor = Monitor()
    first, second, third, *_ = conversation(0, 0)
    later = [segment._replace(time=segment.time + SECOND) for segment in (first, second, third)]
    reset = Segment(9, 2 * SECOND, 0, "192.0.2.2", 80, "192.0.2.1", third.source_port, RST, third.ack, 0, 0)
    events = follow(monitor, [first, *later, reset])
    assert [(event.what, event.diagnosis, event.reset_class) for event in events] == [
        ("opened", "syn-lost", None),
        ("reset", "no-such-connection", "mid-connection"),
    ]
    server = monitor.servers["192.0.2.2", 80]
    assert (server.resets, server.waited) == ({"mid-connection": 1}, SECOND)
    assert (server.resetters, server.silence) == ({"server": 1}, reset.time - later[2].time)


def test_servers_beyond_the_limit_are_counted_together() -> None:
    monitor = Monitor(Limits(max_servers=2))
    follow(monitor, [segment for number in range(5) for segment in conversation(number, number, server=f"198.51.100.{number}")])
    assert len(monitor.servers) == 3
    assert monitor.servers[OTHERS].opened == 3


# Release


def test_a_closed_connection_is_released_after_the_close_timeout_and_an_open_one_after_the_idle_timeout() -> None:
    rows: list[ConnectionRow] = []
    monitor = Monitor(Limits(close_timeout=100, idle_timeout=1000), rows.append)
    follow(monitor, [*conversation(0, 0), *list(conversation(1, 0))[:4]])
    list(monitor.advance_to(99 * SECOND))
    assert monitor.tracked_connections == 2
    list(monitor.advance_to(101 * SECOND))
    assert ([row.termination for row in rows], dict(monitor.released)) == (["three-way"], {"over": 1})
    list(monitor.advance_to(1001 * SECOND))
    assert (monitor.tracked_connections, dict(monitor.released)) == (0, {"over": 1, "idle": 1})


def test_a_repeated_fin_within_the_close_timeout_belongs_to_its_connection() -> None:
    rows: list[ConnectionRow] = []
    monitor = Monitor(Limits(close_timeout=100), rows.append)
    segments = list(conversation(0, 0))
    assert follow(monitor, [*segments, segments[5]._replace(time=60 * SECOND)])[2:] == []
    list(monitor.finish())
    assert [row.fin_retransmissions for row in rows] == [1]


def test_a_connection_that_goes_on_after_its_release_is_joined_midway() -> None:
    rows: list[ConnectionRow] = []
    monitor = Monitor(Limits(idle_timeout=100), rows.append)
    segments = list(conversation(0, 0))
    follow(monitor, segments[:4])
    events = follow(monitor, [segment._replace(time=segment.time + 200 * SECOND) for segment in segments[4:]])
    list(monitor.finish())
    assert [row.establishment for row in rows] == ["complete", "not-captured"]
    assert told(events) == ["closed three-way"]


def test_the_connection_idle_for_longest_is_released_first() -> None:
    rows: list[ConnectionRow] = []
    monitor = Monitor(Limits(max_connections=2), rows.append)
    opened = [list(conversation(stream, stream))[:4] for stream in range(3)]
    follow(monitor, [*opened[0], *opened[1], opened[0][3]._replace(time=5 * SECOND), *opened[2]])
    assert ([row.stream for row in rows], monitor.tracked_connections, dict(monitor.released)) == ([1], 2, {"crowded": 1})


def test_memory_stays_constant_over_a_day_of_traffic() -> None:
    monitor = Monitor(Limits(idle_timeout=600, max_servers=100))
    tracemalloc.start()
    try:
        sizes = []
        for hour in range(24):
            for number in range(120):
                stream, start = hour * 120 + number, hour * HOUR + number * 30
                segments = list(conversation(stream, start, server=f"198.51.{number % 200}.1"))
                follow(monitor, segments[: 1 + stream % 7])  # so that connections stay in every state
            sizes.append(tracemalloc.get_traced_memory()[0])
            assert monitor.tracked_connections <= 101
    finally:
        tracemalloc.stop()
    assert sizes[-1] < sizes[2] * 1.1
    assert monitor.released.total() + monitor.tracked_connections == 24 * 120


# Sessions of tshark


@pytest.mark.parametrize("where", range(7))
def test_a_connection_continues_when_a_new_tshark_numbers_streams_from_0(where: int) -> None:
    rows: list[ConnectionRow] = []
    alone: list[ConnectionRow] = []
    monitor, other = Monitor(on_release=rows.append), Monitor(on_release=alone.append)
    segments = [*conversation(0, 0, port=4000), *conversation(1, 1, port=5000)]
    events = follow(monitor, segments[: 7 + where])
    monitor.begin_session()
    events += follow(monitor, [segment._replace(stream=0) for segment in segments[7 + where :]])
    assert follow(other, segments) == [event._replace(stream=min(event.stream, 1)) for event in events]
    list(monitor.finish())
    list(other.finish())
    assert [replace(row, stream=min(row.stream, 1)) for row in rows] == alone


def test_another_connection_between_the_same_ends_is_another_one_in_the_next_session() -> None:
    monitor = Monitor()
    segments = list(conversation(0, 0))
    follow(monitor, segments)
    monitor.begin_session()
    anew = [segment._replace(seq=segment.seq + 5000, ack=segment.ack and segment.ack + 5000, time=9) for segment in segments]
    assert [event.stream for event in follow(monitor, anew)] == [1, 1]
