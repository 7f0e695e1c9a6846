# SPDX-License-Identifier: GPL-2.0-or-later
"""The methods of a `Capture` beside its tables."""

from __future__ import annotations

import pytest

import pybridge
from pybridge import testing
from pybridge.capture import Capture
from pybridge.tcp.vocabulary import FAILED
from pybridge.verification import verify
from tools.goldens.listing import find

CURL, REFUSED, RETRIED = "article-curl.pcapng", "refused.pcapng", "syn-retransmission.pcapng"


@pytest.fixture
def curl() -> Capture:
    return pybridge.read(find(CURL), progress=False)


@pytest.mark.tshark
def test_failed_gives_the_connections_that_did_not_open(curl: Capture) -> None:
    assert pybridge.read(find(REFUSED), progress=False).failed["establishment"].tolist() == ["refused"]
    assert curl.failed.empty


@pytest.mark.tshark
def test_slowest_sorts_by_handshake_time() -> None:
    capture = pybridge.read(find("article-ssh.pcapng"), progress=False)
    assert capture.slowest(5)["handshake_time"].is_monotonic_decreasing
    assert len(capture.slowest(0)) == 0
    assert pybridge.read(find(REFUSED), progress=False).slowest().empty, "without a handshake it is not slow"


@pytest.mark.tshark
def test_a_display_filter_keeps_the_annotations_of_the_whole(curl: Capture) -> None:
    closing = curl.filter("tcp.flags.fin == 1")
    assert set(closing.segments["role"]) <= {"FIN", "ACK-OF-FIN+FIN"}
    assert len(closing.segments) == 2
    assert closing.connections["establishment"].tolist() == ["complete"]
    assert curl.filter("udp").connections.empty


@pytest.mark.tshark
def test_a_display_filter_can_use_the_plugins_fields(curl: Capture) -> None:
    assert curl.filter('tcp_handshake.role == "SYN-ACK"').segments["role"].tolist() == ["SYN-ACK"]


@pytest.mark.tshark
@pytest.mark.parametrize("wrong", ["tcp.prt == 1", "tcp.port ==", "(", 'tcp.port == "x"'])
def test_a_wrong_display_filter_raises_a_filter_error(curl: Capture, wrong: str) -> None:
    with pytest.raises(pybridge.FilterError, match=r"is not a display filter \(.+\): try it in Wireshark"):
        curl.filter(wrong)


@pytest.mark.tshark
def test_follow_gives_what_both_ends_sent(curl: Capture) -> None:
    turns = curl.follow(0)
    assert turns["sender"].iloc[0] == "client"
    assert turns["data"].iloc[0].startswith(b"GET / HTTP/1.1\r\n")
    row = curl.connections.loc[0]
    sizes = turns["data"].str.len().groupby(turns["sender"], observed=True).sum()
    assert (sizes["client"], sizes["server"]) == (row["client_bytes"], row["server_bytes"])


@pytest.mark.tshark
def test_follow_gives_an_empty_table_without_payload() -> None:
    turns = pybridge.read(find(REFUSED), progress=False).follow(0)
    assert turns.empty
    assert list(turns.columns) == ["sender", "data"]


@pytest.mark.tshark
def test_an_unknown_connection_raises_an_error_with_its_number(curl: Capture) -> None:
    for look in (curl.follow, curl.ladder):
        with pytest.raises(KeyError, match="has no connection 7"):
            look(7)


@pytest.mark.tshark
def test_standard_input_cannot_be_read_again(curl: Capture) -> None:
    given = Capture("-", curl.segments, curl.connections)
    for look in (lambda: given.filter("tcp"), lambda: given.follow(0), lambda: given.packet(1)):
        with pytest.raises(pybridge.CaptureError, match="can be read only once: save the capture to a file"):
            look()


@pytest.mark.tshark
def test_the_notebook_shows_a_capture_as_a_short_summary(curl: Capture) -> None:
    assert "All is well: the only connection opened." in curl._repr_html_()
    nasty = Capture("<script>", curl.segments, curl.connections)
    assert "<script>" not in nasty._repr_html_()
    failed = pybridge.read(find(REFUSED), progress=False)._repr_html_()
    assert "The only connection failed" in failed
    assert "10.0.0.2:80" in failed
    empty = Capture("x", curl.segments.iloc[:0], curl.connections.iloc[:0])
    assert "There is no TCP connection" in empty._repr_html_()


def test_the_outcomes_that_count_as_failed() -> None:
    assert set(FAILED) == {"refused", "unreachable", "unanswered", "invalid-answer", "aborted", "half-open"}


@pytest.mark.tshark
def test_assert_agreement_lists_disagreements(monkeypatch: pytest.MonkeyPatch) -> None:
    testing.assert_agreement(find(RETRIED))
    disagreements = verify(find(REFUSED), progress=False)
    disagreements.loc[0] = ["segments", 0, 2, "role", "RST", "SYN"]
    monkeypatch.setattr(testing, "verify", lambda *_, **__: disagreements)
    with pytest.raises(AssertionError, match=r"1 disagreements about .*refused(.|\n)*role +RST +SYN"):
        testing.assert_agreement(find(REFUSED))
