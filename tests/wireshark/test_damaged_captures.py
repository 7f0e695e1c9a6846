# SPDX-License-Identifier: GPL-2.0-or-later
"""Damaged captures: no traceback, no hang, and both engines give the same tables for the rest.

The name of the test and --hypothesis-seed determine the damage: they make the same file again.
"""

from __future__ import annotations

import os
import random
import re
import signal
import struct
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pandas as pd
import pytest

import pybridge
from pybridge.engine import ENGINES, EngineName
from pybridge.verification import compare
from tools.goldens import listing
from tools.goldens.listing import find

pytestmark = pytest.mark.tshark

OWN = [
    golden.name + ".pcapng"
    for golden in listing.load_all()
    if golden.ending == "pcapng" and golden.byte_order == "<" and len(golden.interfaces) == 1
]
CAPTURES = [*map(find, OWN), *sorted(listing.REAL.glob("*.pcapng"))]
EFFORT = int(os.environ.get("PYBRIDGE_FUZZ_EXAMPLES", "0"))
ROUNDS = max(2, EFFORT // 100)
SECONDS = 60

Damage = Callable[[random.Random, Path, Path], bytes]


def noise(chance: random.Random, path: Path, _: Path) -> bytes:
    """Change some bytes of the packets of 30 captures, one after the other in a file."""
    merged, out = path.with_name("merged"), path.with_name("noise")
    subprocess.run(["mergecap", "-a", "-w", merged, *chance.sample(CAPTURES, 30)], check=True)
    seed = str(chance.randrange(1 << 31))
    subprocess.run(["editcap", "-E", chance.choice(["0.002", "0.02", "0.1"]), "--seed", seed, merged, out], check=True)
    return out.read_bytes()


def cut(chance: random.Random, _: Path, source: Path) -> bytes:
    """Cut off the end."""
    content = source.read_bytes()
    return content[: chance.randrange(1, len(content))]


def scribble(chance: random.Random, _: Path, source: Path) -> bytes:
    """Change some bytes anywhere in the file."""
    content = bytearray(source.read_bytes())
    for _ in range(chance.choice([1, 1, 3, 10, 40])):
        content[chance.randrange(len(content))] = chance.randrange(256)
    return bytes(content)


def wrong_length(chance: random.Random, _: Path, source: Path) -> bytes:
    """Change one of a pcapng block's two total lengths, or one of the two lengths of its packet."""
    content = bytearray(source.read_bytes())
    blocks, place = [], 0
    while place < len(content):
        kind, length = struct.unpack_from("<II", content, place)
        blocks.append((kind, length, place))
        place += length
    kind, length, place = chance.choice(blocks)
    return with_another_number(chance, content, place + chance.choice([4, length - 4] + [20, 24] * (kind == 6)))


def wrong_length_in_classic_pcap(chance: random.Random, path: Path, source: Path) -> bytes:
    """Change the seconds or a length in front of a packet; not the fraction, for tshark shows one beyond a second wrongly."""
    classic = path.with_name("classic")
    subprocess.run(["editcap", "-F", chance.choice(["pcap", "nsecpcap"]), source, classic], check=True)
    content = bytearray(classic.read_bytes())
    records, place = [], 24
    while place < len(content):
        records.append(place)
        place += 16 + struct.unpack_from("<I", content, place + 8)[0]
    return with_another_number(chance, content, chance.choice(records) + chance.choice([0, 8, 12]))


def with_another_number(chance: random.Random, content: bytearray, place: int) -> bytes:
    (old,) = struct.unpack_from("<I", content, place)
    others = [0, 1, 8, 11, 12, 1 << 18, (1 << 31) - 1, (1 << 32) - 1, old - 1, old + 1, old + 4, old ^ 1 << chance.randrange(32)]
    struct.pack_into("<I", content, place, chance.choice(others) % (1 << 32))
    return bytes(content)


DAMAGES: list[Damage] = [noise, cut, scribble, wrong_length, wrong_length_in_classic_pcap]


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    return random.Random(f"{request.node.name} {request.config.getoption('hypothesis_seed')}")  # noqa: S311 - the same again


@pytest.mark.parametrize("number", range(ROUNDS))
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_both_engines_say_the_same_of_a_damaged_capture(
    tmp_path: Path, chance: random.Random, damage: Damage, number: int
) -> None:
    path = tmp_path / "damaged.pcapng"
    path.write_bytes(damage(chance, path, chance.choice(CAPTURES)))
    same_of_both(path)


@pytest.mark.parametrize("digits", [0, 6, 127])
def test_both_engines_say_the_same_of_times_that_no_table_can_hold(tmp_path: Path, digits: int) -> None:
    resolution = bytes([9, 0, 1, 0])
    content = (find("refused.pcapng")).read_bytes()
    path = tmp_path / "late.pcapng"
    path.write_bytes(content.replace(resolution + bytes([9]), resolution + bytes([digits])))
    same_of_both(path)


def test_both_engines_say_the_same_of_a_capture_without_a_whole_header(tmp_path: Path) -> None:
    path = tmp_path / "short.pcapng"
    subprocess.run(["editcap", "-s", "40", find("article-wget.pcapng"), path], check=True)
    same_of_both(path)


def same_of_both(path: Path) -> None:
    with time_limit():
        (ours, our_words), (theirs, their_words) = (outcome(path, engine) for engine in ENGINES)
    assert our_words == their_words
    assert [words for words in our_words if "\n" in words or not words.endswith(".")] == []
    assert (ours is None) == (theirs is None)
    if ours and theirs:
        assert compare(ours, theirs).to_dict(orient="records") == []


@contextmanager
def time_limit() -> Iterator[None]:
    """Raise TimeoutError after a minute: a hang is a failure."""

    def end(_: int, __: FrameType | None) -> None:
        raise TimeoutError

    former = signal.signal(signal.SIGALRM, end)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, former)


def outcome(path: Path, engine: EngineName) -> tuple[pybridge.Capture | None, list[str]]:
    """Read a capture; return the tables, if there are any, and the messages."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", pybridge.CutShortWarning)
        try:
            found = pybridge.read(path, engine, progress=False)
        except pybridge.PybridgeError as error:
            return None, [str(error)]
    return found, [str(warning.message) for warning in said]


@pytest.mark.parametrize("number", range(ROUNDS))
def test_damage_takes_nothing_from_what_comes_before_it(tmp_path: Path, chance: random.Random, number: int) -> None:
    source = chance.choice([path for path in CAPTURES if path.stat().st_size > 1000])
    path = tmp_path / "cut.pcapng"
    path.write_bytes(source.read_bytes()[: chance.randrange(300, 1000)])
    whole, (left, words) = pybridge.read(source, progress=False), outcome(path, "python")
    assert left is not None
    pd.testing.assert_frame_equal(left.segments, whole.segments.head(len(left.segments)))
    assert words == [f"{path} ends in the middle of a packet: all whole packets before that were annotated."] or not words


@pytest.mark.parametrize("number", range(ROUNDS // 2))
def test_the_command_line_says_what_is_wrong_line_by_line_and_ends(tmp_path: Path, chance: random.Random, number: int) -> None:
    folder = tmp_path / "damaged"
    folder.mkdir()
    for damage in (cut, scribble, wrong_length):
        (folder / f"{damage.__name__}.pcapng").write_bytes(damage(chance, tmp_path / "scratch", chance.choice(CAPTURES)))
    command = [sys.executable, "-m", "pybridge", "verify", folder]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=SECONDS, check=False)
    assert [line for line in done.stderr.splitlines() if not (line.startswith("pybridge: ") and line.endswith("."))] == []
    agree, differ, unread = map(int, re.findall(r"\d+", done.stdout))
    assert (3, 0, 2 if unread else 0) == (agree + unread, differ, done.returncode)
