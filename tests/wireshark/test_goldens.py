# SPDX-License-Identifier: GPL-2.0-or-later
"""Both engines give the expected tables for every golden, through tshark, in one pass and in two."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pandas as pd
import pytest

import pybridge
from pybridge.engine import Engine, PythonEngine
from pybridge.wireshark import plugin_files
from pybridge.wireshark.plugin_engine import PluginEngine
from tools.goldens import build, listing
from tools.goldens.expected import expected_file, expected_text
from tools.goldens.listing import find

GOLDENS = listing.load_all()
PARTS = 8  # of a test of all goldens, so that it does not keep one worker busy at the end
ENGINES = ["python", "plugin", "plugin, two passes"]


def make(engine: str) -> Engine:
    if engine == "python":
        return PythonEngine()
    return PluginEngine(plugin_files.path(), two_passes=engine != "plugin")


@pytest.mark.tshark
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("golden", GOLDENS, ids=lambda golden: golden.name)
def test_both_engines_give_the_expected_tables(golden: listing.Listing, engine: str) -> None:
    found = expected_text(pybridge.read(golden.path, make(engine), progress=False))
    assert found == expected_file(golden).read_text(encoding="utf-8")


@pytest.mark.parametrize("golden", GOLDENS, ids=lambda golden: golden.name)
def test_every_listing_builds_its_capture_to_the_byte(golden: listing.Listing) -> None:
    assert build.capture(golden) == (golden.path).read_bytes()


def test_every_capture_has_a_listing() -> None:
    assert sorted(listing.GOLDEN.glob("*/*.pcap*")) == sorted(golden.path for golden in GOLDENS)


@pytest.mark.tshark
@pytest.mark.parametrize("golden", GOLDENS, ids=lambda golden: golden.name)
def test_the_expected_tables_say_what_the_listing_says(golden: listing.Listing) -> None:
    if expected_file(golden).suffix != ".expected":
        pytest.skip("a listing numbers the streams as Wireshark 4.0 does, and this version begins others (G4)")
    capture = pybridge.read(golden.path, progress=False)
    assert capture.segments["frame"].tolist() == [event.frame for event in golden.segments]
    for event, (_, row) in zip(golden.segments, capture.segments.iterrows(), strict=True):
        assert event.expected is not None
        if event.expected.handshake_time_ns is not None:
            assert row["handshake_time"] == pd.Timedelta(event.expected.handshake_time_ns)
    for stream, expected in golden.connections.items():
        row = capture.connections.loc[stream]
        for name, text in expected.items():
            value = row[name]
            if text == "-":
                assert pd.isna(value), name
            elif isinstance(value, pd.Timedelta):
                assert value == pd.Timedelta(listing.nanoseconds(text)), name
            else:
                assert str(value) == text, name


@pytest.mark.tshark
def test_the_wget_trace_has_the_checksums_that_tcpdump_printed() -> None:
    printed = ["0xdc83", "0xe96e", "0x8874", "0x0f76", "0x87df", "0xc019", "0x86cc", "0x86cb", "0x86cb", "0x86c8"]
    command = ["tshark", "-n", "-r", str(find("article-wget.pcapng")), "-o", "tcp.check_checksum:TRUE"]
    command += ["-T", "fields", "-e", "tcp.checksum", "-e", "tcp.checksum.status"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines == [f"{checksum}\t1" for checksum in printed]


@pytest.mark.tshark
@pytest.mark.parametrize("part", range(PARTS))
def test_the_plugin_leaves_no_trace_of_a_lua_error_on_any_golden(tmp_path: Path, part: int) -> None:
    environment = os.environ | {"HOME": str(tmp_path)}
    for golden in GOLDENS[part::PARTS]:
        path = golden.path
        command = ["tshark", "-n", "-X", f"lua_script:{plugin_files.path()}", "-r", str(path), "-Y", "_ws.lua.error"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        assert (path.name, "", False) == (path.name, done.stdout, "Lua:" in done.stderr)
