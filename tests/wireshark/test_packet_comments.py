# SPDX-License-Identifier: GPL-2.0-or-later
"""Captures with comments on their packets: the packets stay as they are."""

from __future__ import annotations

import io
import struct
import subprocess
from pathlib import Path

import pytest

import pybridge
from pybridge.report.comments import comments
from pybridge.wireshark.capture_source import CaptureSource
from pybridge.wireshark.packet_comments import LONGEST_COMMENT, _commented, write_commented
from tests.conftest import Run
from tests.support.scenarios import NORMAL, REFUSED, tables
from tools.goldens.listing import REAL, find


def fields(path: Path, *names: str, occurrence: str = "a") -> list[list[str]]:
    options = [part for name in names for part in ("-e", name)]
    options += ["-E", f"occurrence={occurrence}"]
    command = ["tshark", "-n", "-r", str(path), "-o", "frame.generate_md5_hash:TRUE", "-T", "fields", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [line.split("\t") for line in done.stdout.splitlines()]


@pytest.mark.tshark
@pytest.mark.parametrize("name", ["article-wget", "amsdu", "nanoseconds", "amsdu-with-icmp"])
def test_the_packets_stay_and_every_frame_gets_its_comment(tmp_path: Path, name: str) -> None:
    path = find(f"{name}.pcapng")
    capture = pybridge.read(path, progress=False)
    target = capture.annotate(tmp_path / "x.pcapng")
    same = ("frame.number", "frame.time_epoch", "frame.md5_hash", "frame.encap_type")
    assert fields(target, *same) == fields(path, *same)
    expected = comments(capture.segments, capture.connections)
    # Since 4.4 a comment of several lines is a field several times, at last as a whole.
    found = {int(number): text for number, text in fields(target, "frame.number", "frame.comment", occurrence="l") if text}
    assert {number: text.replace("\n", " ") for number, text in expected.items()} == {
        number: text.replace("\\n", " ") for number, text in found.items()
    }


@pytest.mark.tshark
def test_the_command_reads_old_formats_standard_input_and_rings(run: Run, tmp_path: Path) -> None:
    subprocess.run(["editcap", "-F", "pcap", str(find("article-wget.pcapng")), str(tmp_path / "old.pcap")], check=True)
    assert run("annotate", "old.pcap", "-o", "a.pcapng").returncode == 0
    assert run("annotate", "-", "-o", "b.pcapng", stdin=(tmp_path / "old.pcap").read_bytes()).returncode == 0
    (tmp_path / "ring").mkdir()
    subprocess.run(["editcap", "-c", "4", str(tmp_path / "old.pcap"), str(tmp_path / "ring" / "r.pcapng")], check=True)
    assert run("annotate", "ring", "-o", "c.pcapng").returncode == 0
    texts = [fields(tmp_path / f"{name}.pcapng", "frame.comment") for name in "abc"]
    assert texts[0] == texts[1] == texts[2]
    assert texts[0][0][0].startswith("SYN of the client, handshake 1/3; client SYN-SENT, server LISTEN. Connection 0: opening")
    wrong = run("annotate", "old.pcap", "-o", "x.pcap")
    assert "choose from .pcapng" in wrong.stderr


@pytest.mark.tshark
def test_comments_that_were_there_stay(tmp_path: Path) -> None:
    path = tmp_path / "own.pcapng"
    subprocess.run(["editcap", "-a", "1:mine", str(find("refused.pcapng")), str(path)], check=True)
    again = pybridge.read(path, progress=False).annotate(tmp_path / "x.pcapng")
    assert fields(again, "frame.comment")[0][0].endswith(",mine")


@pytest.mark.tshark
def test_a_capture_that_is_cut_short_is_copied_as_far_as_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "cut.pcapng"
    path.write_bytes(find("article-wget.pcapng").read_bytes()[:-40])
    target = io.BytesIO()
    write_commented(CaptureSource("cut", str(path)), {1: "one"}, target)
    (tmp_path / "x.pcapng").write_bytes(target.getvalue())
    assert len(fields(tmp_path / "x.pcapng", "frame.number")) == 9


@pytest.mark.tshark
def test_every_capture_of_the_kernel_can_be_annotated(tmp_path: Path) -> None:
    for path in sorted(REAL.glob("*.pcapng"))[:5]:
        pybridge.read(path, progress=False).annotate(tmp_path / "x.pcapng")
        assert len(fields(tmp_path / "x.pcapng", "frame.number")) == len(fields(path, "frame.number"))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("options", [b"", b"\x00\x00\x00\x00"])
def test_blocks_of_both_byte_orders_get_comments(order: str, options: bytes) -> None:
    body = struct.pack(f"{order}IIIII", 0, 0, 0, 5, 5) + b"12345\0\0\0" + options
    size = struct.pack(f"{order}I", 12 + len(body))
    block = struct.pack(f"{order}I", 6) + size + body + size
    made = _commented(order, block, "näher" + "x" * 70_000)
    (length,) = struct.unpack_from(f"{order}I", made, 4)
    assert length == len(made) == struct.unpack(f"{order}I", made[-4:])[0]
    assert length % 4 == 0
    code, text = struct.unpack_from(f"{order}HH", made, 36)
    assert (code, text) == (1, LONGEST_COMMENT)
    assert made[-8:-4] == b"\0\0\0\0"


def test_comments_say_the_role_the_step_the_states_and_the_verdict() -> None:
    found = comments(*tables(NORMAL))
    assert found[1].endswith(
        "client SYN-SENT, server LISTEN. Connection 0: opening complete, closing three-way by client. Diagnosis: orderly."
    )
    assert found[2] == (
        "SYN-ACK of the server, handshake 2/3; client ESTABLISHED, server SYN-RECEIVED; answers frame 1 after 12 ms."
    ).replace("12 ms", "12.0 ms")
    assert sorted(found) == [1, 2, 3, 7, 8, 9], "plain segments get none"
    segments, connections = tables(REFUSED)
    assert "Diagnosis: nobody listens." in comments(segments, connections.assign(diagnosis="nobody listens"))[1]
    assert comments(segments.iloc[:0], connections.iloc[:0]) == {}
