# SPDX-License-Identifier: GPL-2.0-or-later
"""Both engines give the same tables for captures of random conversations, through tshark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings

import pybridge
from pybridge.engine import PythonEngine
from pybridge.verification import compare
from pybridge.wireshark import plugin_files
from pybridge.wireshark.plugin_engine import PluginEngine
from tests.support.conversations import EFFORT, Conversation, as_listing, conversations, golden_of, golden_with, smallest
from tools.goldens import build, listing

pytestmark = pytest.mark.tshark

IN_ONE_CAPTURE = 200


def test_both_engines_say_the_same_of_whole_captures(tmp_path: Path) -> None:
    many: list[Conversation] = []

    @settings(max_examples=EFFORT or IN_ONE_CAPTURE, phases=[Phase.generate], database=None)
    @given(conversations)
    def make(conversation: Conversation) -> None:
        many.append(conversation)

    make()
    for start in range(0, len(many), IN_ONE_CAPTURE):
        some = many[start : start + IN_ONE_CAPTURE]
        if found := disagreements(golden_of(some), tmp_path):
            few = smallest(some, lambda kept: bool(disagreements(golden_of(kept), tmp_path)))
            left = smallest(golden_of(few).events, lambda kept: bool(disagreements(golden_with(kept), tmp_path)))
            pytest.fail(f"{found[:3]}\n{as_listing(golden_with(left))}", pytrace=False)


def disagreements(golden: listing.Listing, folder: Path) -> list[Any]:
    path = folder / "differential.pcapng"
    path.write_bytes(build.capture(golden))
    ours = pybridge.read(path, PythonEngine(), progress=False)
    found: list[Any] = []
    for two_passes in (False, True):
        theirs = pybridge.read(path, PluginEngine(plugin_files.path(), two_passes=two_passes), progress=False)
        found += compare(ours, theirs).to_dict(orient="records")
    return found
