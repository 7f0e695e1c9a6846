# SPDX-License-Identifier: GPL-2.0-or-later
"""The version of tshark is asked once, and again when its file has changed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pybridge.wireshark.version_cache import remembered


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr("pybridge.wireshark.version_cache.user_cache_path", lambda *_, **__: tmp_path / "cache")
    return []


def ask(asked: list[str], program: Path, version: str = "4.0.17") -> str:
    def answer(path: str) -> str:
        asked.append(path)
        return version

    return remembered(str(program), answer)


def test_a_program_is_asked_again_only_when_its_file_changes(tmp_path: Path, asked: list[str]) -> None:
    program = tmp_path / "tshark"
    program.write_bytes(b"\x7fELF one")
    assert [ask(asked, program), ask(asked, program)] == ["4.0.17", "4.0.17"]
    assert len(asked) == 1
    os.utime(program, ns=(1, 1))
    assert ask(asked, program, "4.4.0") == "4.4.0"
    assert len(asked) == 2


def test_a_script_is_always_asked(tmp_path: Path, asked: list[str]) -> None:
    program = tmp_path / "tshark"
    program.write_text("#!/bin/sh\n")
    ask(asked, program)
    ask(asked, program)
    assert len(asked) == 2


@pytest.mark.parametrize("content", ["", "not json", "[]", '{"state": 1, "version": 2}'])
def test_a_cache_with_other_content_is_ignored(tmp_path: Path, asked: list[str], content: str) -> None:
    program = tmp_path / "tshark"
    program.write_bytes(b"\x7fELF one")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "tshark-version.json").write_text(content)
    assert ask(asked, program) == "4.0.17"


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path, asked: list[str]) -> None:
    program = tmp_path / "tshark"
    program.write_bytes(b"\x7fELF one")
    (tmp_path / "cache").write_text("a file, not a folder")
    assert ask(asked, program) == "4.0.17"
