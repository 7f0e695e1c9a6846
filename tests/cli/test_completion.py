# SPDX-License-Identifier: GPL-2.0-or-later
"""Completion in bash, zsh and fish."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Run

ASKED = [
    ("pybridge connections --col", "--columns"),
    ("pybridge connec", "connections"),
    ("pybridge connections --columns stream,establ", "stream,establishment"),
    ("pybridge connections --format pa", "parquet"),
]
JOINED = [("--sort=-handsh", "-handshake_time"), ("--format=jsonl", "jsonl")]


def shell(name: str, script: str, folder: Path) -> str:
    """Run a script in a shell whose PATH has a `pybridge`; return what it prints."""
    command = folder / "pybridge"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m pybridge "$@"\n')
    command.chmod(0o755)
    root = Path(__file__).resolve().parent.parent.parent
    environment = os.environ | {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(root)}
    flags = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[name]
    return subprocess.run([name, *flags, "-c", script], capture_output=True, text=True, env=environment, check=True).stdout


@pytest.mark.parametrize(("line", "expected"), ASKED)
def test_bash_completes(tmp_path: Path, line: str, expected: str) -> None:
    script = f"""
        eval "$(pybridge completion bash)"
        COMP_WORDS=({line}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
        compopt() {{ :; }}
        _pybridge_completion pybridge; printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    assert expected in shell("bash", script, tmp_path).splitlines()


@pytest.mark.shells
@pytest.mark.parametrize(("line", "expected"), ASKED)
def test_fish_completes(tmp_path: Path, line: str, expected: str) -> None:
    script = f"pybridge completion fish | source; complete --do-complete '{line}'"
    assert expected in [row.partition("\t")[0] for row in shell("fish", script, tmp_path).splitlines()]


@pytest.mark.shells
@pytest.mark.parametrize(("line", "expected"), ASKED)
def test_zsh_completes(tmp_path: Path, line: str, expected: str) -> None:
    # What zsh's own completion calls is replaced by functions that print the array that they are given.
    script = f"""
        compdef() {{ :; }}; _describe() {{ print -l -- "${{(@P)3}}" }}; compadd() {{ print -l -- "${{(@P)5}}" }}
        eval "$(pybridge completion zsh)"
        words=({line}); CURRENT=${{#words}}; _pybridge_completion
    """
    found = shell("zsh", script, tmp_path).splitlines()
    assert any(row.partition(":")[0] == expected for row in found), found


@pytest.mark.parametrize(("word", "expected"), JOINED)
def test_a_value_after_an_equals_sign_is_completed(run: Run, word: str, expected: str) -> None:
    option, _, value = word.partition("=")
    line = f"pybridge connections {word}"
    split = run(_PYBRIDGE_COMPLETE="bash_complete", COMP_WORDS=f"pybridge connections {option} = {value}", COMP_CWORD="4")
    assert split.stdout == f"plain,{expected}\n", "bash completes what stands after the equals sign"
    for shell_name, words, place in (("zsh", line, "2"), ("fish", line, word)):
        whole = run(_PYBRIDGE_COMPLETE=f"{shell_name}_complete", COMP_WORDS=words, COMP_CWORD=place)
        assert f"{option}={expected}" in whole.stdout


def test_a_shell_that_is_unknown_is_refused(run: Run) -> None:
    assert "'tcsh' is not one of 'bash', 'zsh', 'fish'" in run("completion", "tcsh").stderr


def test_files_are_completed_by_the_shell(run: Run) -> None:
    done = run(_PYBRIDGE_COMPLETE="bash_complete", COMP_WORDS="pybridge connections ref", COMP_CWORD="2")
    assert done.stdout == "file,ref\n"
