# SPDX-License-Identifier: GPL-2.0-or-later
"""The plugin in Wireshark: installation, profile, statistics, preferences."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import pybridge
from pybridge.wireshark import plugin_files
from tests.conftest import Run
from tools.goldens.listing import find

pytestmark = pytest.mark.tshark

Tshark = Callable[..., str]


@pytest.fixture
def tshark(tmp_path: Path) -> Tshark:
    """Return a function that runs tshark with the plugin and an empty home, fails on complaints, and returns the output."""

    def tshark(*arguments: str | Path) -> str:
        command = ["tshark", "-X", f"lua_script:{plugin_files.path()}", *map(str, arguments)]
        environment = os.environ | {"HOME": str(tmp_path), "WIRESHARK_CONFIG_DIR": str(tmp_path)}
        ended = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        complaints = [line for line in ended.stderr.splitlines() if "Running as user" not in line]
        assert complaints == []
        return ended.stdout

    return tshark


# ------------------------------------------------------------------------------------------------------ Installing


def test_the_plugin_and_its_profile_are_installed_seen_to_be_loaded_and_removed(run: Run, tmp_path: Path) -> None:
    ended = run("plugin", "install")
    script, profile = map(Path, ended.stdout.splitlines())
    assert script.is_relative_to(tmp_path)
    assert profile.is_relative_to(tmp_path)
    assert f"loads version {pybridge.__version__};" in ended.stderr
    assert run("plugin", "path").stderr == ""
    script.write_text("-- an old version")
    assert "is another version: run pybridge plugin install." in run("plugin", "path").stderr
    assert run("plugin", "uninstall").stdout.splitlines() == [str(script), str(profile)]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert "not installed" in run("plugin", "uninstall").stderr


@pytest.mark.parametrize("name", ["a.lua", "z.lua", "folder/tcp_handshake.lua"], ids=["before", "after", "same name"])
def test_a_copy_elsewhere_is_named(run: Run, name: str) -> None:
    script = Path(run("plugin", "install").stdout.splitlines()[0])
    copy = script.parent / name
    copy.parent.mkdir(exist_ok=True)
    copy.write_bytes(script.read_bytes())
    ended = run("plugin", "install")
    assert ended.returncode == 2
    assert f"{copy} is another copy of the plugin" in ended.stderr


def test_a_plugin_that_is_installed_and_named_on_the_command_line_is_loaded_once(run: Run, tshark: Tshark) -> None:
    run("plugin", "install")
    shown = tshark("-r", find("refused.pcapng"), "-T", "fields", "-e", "tcp_handshake.role")
    assert shown.split() == ["SYN", "RST"]


def test_an_installed_plugin_that_tshark_does_not_load_is_an_error(run: Run) -> None:
    script = Path(run("plugin", "install").stdout.splitlines()[0])
    folder = script.parent.parent / "no-lua"
    folder.mkdir()
    (folder / "tshark").write_text(f'#!/bin/sh\nif [ "$2" = plugins ]; then exit; fi\nexec {shutil.which("tshark")} "$@"\n')
    (folder / "tshark").chmod(0o755)
    ended = run("plugin", "install", PATH=f"{folder}:{os.environ['PATH']}")
    assert ended.returncode == 2
    assert f"{script} is there, but tshark" in ended.stderr


def test_a_profile_that_its_user_changed_is_left_alone(run: Run) -> None:
    preferences = Path(run("plugin", "install").stdout.splitlines()[1]) / "preferences"
    preferences.write_text("gui.column.format: mine")
    run("plugin", "install")
    assert preferences.read_text() == "gui.column.format: mine"


# --------------------------------------------------------------------------------------------------------- Profile


def test_the_profile_shows_roles_steps_and_states_in_columns(tshark: Tshark, tmp_path: Path, run: Run) -> None:
    run("plugin", "profile", "-o", tmp_path / "profile.zip")
    with zipfile.ZipFile(tmp_path / "profile.zip") as archive:
        archive.extractall(tmp_path / "profiles")
    lines = tshark("-C", plugin_files.PROFILE, "-T", "tabs", "-r", find("article-wget.pcapng")).splitlines()
    assert lines[8].split("\t")[-8:-1] == ["ACK-OF-FIN,FIN", "2,3", "TIME-WAIT", "LAST-ACK", "0.000504000", "orderly", ""]


def filters() -> list[str]:
    files = {file.name: file.read_text(encoding="utf-8") for file in plugin_files.profile()}
    buttons = [row[2].replace("\\x22", '"') for row in csv.reader(files["dfilter_buttons"].splitlines())]
    colours = [line.split("@")[2] for line in files["colorfilters"].splitlines() if line.startswith("@")]
    return buttons + colours


@pytest.mark.parametrize("display_filter", filters())
def test_every_button_and_colour_of_the_profile_finds_something(tshark: Tshark, display_filter: str) -> None:
    names = (
        "article-wget",
        "refused",
        "icmp-host-unreachable",
        "half-open",
        "article-server-closes",
        "client-aborts-in-syn-sent",
        "syn-ack-retransmission-after-third-step",
        "syn-ack-retransmission",
        "rst-by-client",
    )
    assert any(tshark("-2", "-Y", display_filter, "-r", find(f"{name}.pcapng")) for name in names)


def test_the_button_for_resets_in_mid_connection_leaves_out_those_of_a_close(tshark: Tshark) -> None:
    (button,) = [text for text in filters() if "termination" in text]
    streams = tshark(
        "-2", "-R", "frame", "-Y", button, "-T", "fields", "-e", "tcp.stream", "-r", find("reset-with-unread-data.pcapng")
    )
    assert set(streams.split()) == {"0", "2"}


def test_a_packet_that_is_looked_at_again_names_its_answer(tshark: Tshark) -> None:
    fields = ("-T", "fields", "-e", "tcp_handshake.responds_to", "-e", "tcp_handshake.answered_in")
    links = [line.split("\t") for line in tshark("-2", "-R", "frame", *fields, "-r", find("article-wget.pcapng")).splitlines()]
    assert links == [["", "2"], ["1", "3"], ["2", ""]] + [["", ""]] * 4 + [["", "9"], ["8", "10"], ["9", ""]]
    unreachable = tshark("-2", "-R", "frame", *fields, "-r", find("icmp-host-unreachable.pcapng")).splitlines()
    assert [line.split("\t") for line in unreachable] == [["", "2"], ["1", ""]]


# ------------------------------------------------------------------------------------------ Statistics, preferences


@pytest.mark.parametrize("name", ["article-wget", "refused", "icmp-host-unreachable", "ipv6", "amsdu"])
def test_the_statistic_holds_what_the_table_of_connections_does(tshark: Tshark, name: str) -> None:
    path = find(f"{name}.pcapng")
    heading, *lines = tshark("-n", "-q", "-z", "tcp_handshake,connections", "-r", path).splitlines()
    columns = {word: heading.index(word) for word in heading.split()}
    connections = pybridge.read(path, progress=False).connections
    assert len(lines) == len(connections)
    for (stream, row), line in zip(connections.iterrows(), lines, strict=True):
        found = {word: (line[place:].split("  ")[0].strip() or None) for word, place in columns.items()}
        end = "[{}]:{}" if ":" in row.client else "{}:{}"
        expected = {
            "client": end.format(row.client, row.client_port),
            "server": end.format(row.server, row.server_port),
            **{column: text(row[column]) for column in ("establishment", "termination", "closed_by", "conn_state", "history")},
            "anomalies": text(row.anomalies),
        }
        assert line.split()[0] == str(stream)
        assert {column: found[column] for column in expected} == expected
        for column, time in (("handshake_ms", row.handshake_time), ("teardown_ms", row.teardown_time)):
            assert pd.isna(time) or f"{time / pd.Timedelta(milliseconds=1):.3f}" in line.split(), column


def text(value: object) -> str | None:
    return None if pd.isna(value) else str(value)


@pytest.mark.parametrize(("limit", "slow"), [(0, False), (1, True), (1000, False)])
def test_a_handshake_slower_than_the_preference_is_noted(tshark: Tshark, *, limit: int, slow: bool) -> None:
    option, path = f"tcp_handshake.slow_handshake:{limit}", find("article-curl.pcapng")
    said = tshark("-o", option, "-V", "-r", path)
    assert ("The handshake took" in said) == slow
    assert ("The handshake took" in tshark("-o", option, "-q", "-z", "expert", "-r", path)) == slow


def test_notes_and_explanations_can_be_turned_off(tshark: Tshark) -> None:
    path = find("article-wget.pcapng")
    assert "[Handshake 1/3]" in tshark("-r", path)
    assert "[Handshake 1/3]" not in tshark("-o", "tcp_handshake.info_notes:FALSE", "-r", path)
    assert "Explanation: proposes" in tshark("-V", "-r", path)
    assert "Explanation: proposes" not in tshark("-o", "tcp_handshake.explanations:FALSE", "-V", "-r", path)


# ------------------------------------------------------------------------------------------------------ Diagnosis


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rst-by-client", ["1", "application-abort", "client", '"application-abort" && tcp_handshake.suspect == "client"']),
        ("article-wget", ["1", "orderly", '"orderly" && !tcp_handshake.suspect']),
        ("icmp-host-unreachable", ["1", "host-unreachable", '"host-unreachable" && !tcp_handshake.suspect']),
    ],
)
def test_the_statistic_counts_connections_by_diagnosis(tshark: Tshark, name: str, expected: list[str]) -> None:
    heading, line = tshark("-n", "-q", "-z", "tcp_handshake,diagnosis", "-r", find(f"{name}.pcapng")).splitlines()
    assert heading.split() == ["connections", "diagnosis", "suspect", "display", "filter"]
    *cells, last = expected
    assert [cell.strip() for cell in line.split("  ") if cell.strip()] == [*cells, f"tcp_handshake.diagnosis == {last}"]


def test_the_statistic_begins_with_the_most_harmful_and_its_filters_find_what_it_counts(tshark: Tshark) -> None:
    path = find("icmp-hard-errors.pcapng").parents[2] / "real" / "connect-scan.pcapng"
    _, *lines = tshark("-n", "-q", "-z", "tcp_handshake,diagnosis", "-r", path).splitlines()
    assert len(lines) > 1
    assert lines == sorted(lines, key=lambda line: HARM.index(line.split()[1]))
    for line in lines:
        display_filter = line[line.index("tcp_handshake.") :]
        streams = tshark("-n", "-2", "-Y", f"({display_filter}) && !icmp", "-T", "fields", "-e", "tcp.stream", "-r", path)
        assert len(set(streams.split())) == int(line.split()[0]), display_filter


HARM = ["server-silent", "filtered", "port-closed", "probe", "still-open"]


@pytest.mark.parametrize("passes", [[], ["-2"]], ids=["one pass", "two passes"])
@pytest.mark.parametrize(
    ("name", "severity", "frame", "words"),
    [
        ("data-in-flight-at-fin", "Warning", "6", "The client closed before it had read all data"),
        ("rst-by-client", "Warning", "5", "The connection was ended by a reset of the client instead of a FIN"),
        ("syn-again-after-syn-ack", "Note", "3", "The server answered the SYN, but the client sent it again"),
        ("rst-after-both-fins", "Chat", "6", "A reset came after both ends had closed: harmless."),
    ],
)
def test_a_frame_that_shows_a_diagnosis_says_it(
    tshark: Tshark, passes: list[str], name: str, severity: str, frame: str, words: str
) -> None:
    tree = tshark(*passes, "-V", "-Y", f"frame.number == {frame}", "-r", find(f"{name}.pcapng"))
    assert f"[Expert Info ({severity}/Sequence): {words}" in tree


def test_the_usual_segment_has_no_expert_information(tshark: Tshark) -> None:
    assert "TCP_HANDSHAKE" not in tshark("-2", "-q", "-z", "expert", "-r", find("article-wget.pcapng"))


def test_the_tree_says_in_a_sentence_why_a_connection_failed(tshark: Tshark) -> None:
    tree = tshark("-2", "-V", "-R", "frame", "-Y", "frame.number == 1", "-r", find("refused.pcapng"))
    assert "Diagnosis: port-closed" in tree
    assert "Diagnosis in words: A reset refused the connection: nothing listens on this port, or a firewall" in tree
    assert "Suspect:" not in tree
    assert "Evidence in: 2" in tree


@pytest.mark.parametrize("name", ["article-wget", "syn-ack-retransmission", "data-in-flight-at-fin", "half-open-recovery"])
def test_the_last_frame_in_one_pass_says_what_all_say_in_two(tshark: Tshark, name: str) -> None:
    names = ("tcp.stream", "tcp_handshake.diagnosis", "tcp_handshake.suspect", "tcp_handshake.evidence")
    fields = ("-T", "fields", *(word for name in names for word in ("-e", name)))
    path = find(f"{name}.pcapng")
    one = {line.split("\t")[0]: line for line in tshark(*fields, "-r", path).splitlines()}
    two = {line.split("\t")[0]: line for line in tshark("-2", "-R", "frame", *fields, "-r", path).splitlines()}
    last = max(one, key=int)
    assert one[last] == two[last]


# ------------------------------------------------------------------------------------------------- Ways to run tshark

WAYS = {
    "two passes": ["-2"],
    "read filter": ["-2", "-R", "tcp.flags.fin == 1"],
    "display filter": ["-Y", "tcp.len > 0"],
    "written": ["-w", os.devnull],
    "few packets shown": ["-Y", "tcp_handshake.teardown_step == 4"],
    "no analysis": ["-o", "tcp.analyze_sequence_numbers:FALSE", "-o", "tcp.desegment_tcp_streams:FALSE"],
    "raw numbers": ["-o", "tcp.relative_sequence_numbers:FALSE", "-o", "tcp.calculate_timestamps:FALSE"],
    "decode as": ["-d", "tcp.port==8080,tls"],
    "heuristics first": ["-o", "tcp.try_heuristic_first:TRUE"],
    "names": ["-N", "mtndv"],
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["article-wget", "icmp-host-unreachable"])
def test_no_state_is_missed_however_tshark_is_run(tshark: Tshark, name: str, way: str) -> None:
    arguments = ("-q", "-z", "tcp_handshake,connections", "-r", find(f"{name}.pcapng"))
    assert tshark(*WAYS[way], *arguments).split("\n") == tshark("-n", *arguments).split("\n")


@pytest.mark.parametrize("kept", ["tcp.flags.fin == 1", "tcp.len > 0", "tcp.flags.syn == 0"])
def test_what_a_read_filter_leaves_is_annotated_as_it_was(tshark: Tshark, kept: str) -> None:
    names = ("role", "teardown_step", "client_state", "server_state", "explanation", "termination")
    fields = ("-T", "fields", *(word for name in names for word in ("-e", f"tcp_handshake.{name}")))
    path = find("article-wget.pcapng")
    assert tshark("-2", "-R", kept, *fields, "-r", path) == tshark("-2", "-Y", kept, *fields, "-r", path) != ""


def test_what_goes_before_and_after_in_one_file_changes_nothing(tshark: Tshark, tmp_path: Path) -> None:
    merged = tmp_path / "merged.pcapng"
    parts = [find(f"{name}.pcapng") for name in ("refused", "article-wget", "half-open")]
    subprocess.run(["mergecap", "-a", "-w", merged, *parts], check=True)
    shifted = tmp_path / "shifted.pcapng"
    subprocess.run(["editcap", "-t", "3600", merged, shifted], check=True)
    fields = ("-T", "fields", *(word for name in ("role", "client_state", "anomaly") for word in ("-e", f"tcp_handshake.{name}")))
    alone = [tshark(*fields, "-r", part) for part in parts]
    assert "".join(alone[:2]) in tshark(*fields, "-r", merged)
    assert tshark(*fields, "-r", shifted) == tshark(*fields, "-r", merged)
