# SPDX-License-Identifier: GPL-2.0-or-later
"""What a user gets: the wheel, the versions, the set-up scripts, and a specification that code and goldens cite rightly."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from lupa import lua54

import pybridge
from tools.goldens import listing

ROOT = Path(__file__).resolve().parent.parent
SPECIFICATION = (ROOT / "docs" / "annotations.md").read_text(encoding="utf-8")
RULES = set(re.findall(r"^\*\*(?:Note )?([A-Z]\d+)\b", SPECIFICATION, re.MULTILINE)) | set(re.findall(r"\| ([CZ]\d+)\b", SPECIFICATION))
CITATION = re.compile(r"\b([GEXHTRNACZ]\d{1,2})\b(?!\w)")


def test_the_wheel_carries_the_plugin_and_the_page(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)], cwd=ROOT, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert (ROOT / "plugin" / "tcp_handshake.lua").read_bytes() == archive.read("pybridge/tcp_handshake.lua")
        assert "pybridge/report/templates/report.html.j2" in archive.namelist()


def test_plugin_and_package_have_the_same_version() -> None:
    machine = lua54.LuaRuntime().execute((ROOT / "plugin" / "tcp_handshake.lua").read_text(encoding="utf-8"))
    assert pybridge.__version__ == machine.VERSION


@pytest.mark.parametrize(
    "path",
    ["plugin/tcp_handshake.lua", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "pybridge" / "tcp").glob("[a-z]*.py"))],
)
def test_every_rule_that_code_cites_is_in_the_specification(path: str) -> None:
    comments = re.findall(r"(?:--|#).*|\"\"\".*?\"\"\"", (ROOT / path).read_text(encoding="utf-8"))
    cited = {rule for comment in comments for rule in CITATION.findall(comment)}
    assert cited
    assert set() == cited - RULES


def test_every_rule_that_a_golden_cites_is_in_the_specification() -> None:
    assert {} == {
        golden.name: wrong for golden in listing.load_all() if (wrong := set(CITATION.findall(golden.rules)) - RULES)
    }  # fmt: skip


@pytest.mark.parametrize("script", [".ci/run", ".ci/system", "tools/screenshots.sh", "tools/test_versions.sh"])
def test_set_up_scripts_parse(script: str) -> None:
    subprocess.run(["bash", "-n", str(ROOT / script)], check=True)
