# SPDX-License-Identifier: GPL-2.0-or-later
"""The wheel, the versions, the set-up scripts, and the rules of the specification that code and goldens cite."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from lupa import lua54

import pybridge
from pybridge import examples
from pybridge.wireshark import plugin_files
from tools.goldens import listing

ROOT = Path(__file__).resolve().parent.parent
SPECIFICATION = (ROOT / "docs" / "annotations.md").read_text(encoding="utf-8")
RULES = set(re.findall(r"^\*\*(?:Note )?([A-Z]\d+)\b", SPECIFICATION, re.MULTILINE)) | set(
    re.findall(r"\| ([CZ]\d+)\b", SPECIFICATION)
)
CITATION = re.compile(r"\b([GEXFHTRNACDZ]\d{1,2})\b(?!\w)")
COMMENT = re.compile(r"(?:--|#).*|\"\"\"(?:.|\n)*?\"\"\"")


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], cwd=ROOT, check=True)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_carries_the_plugin_the_page_the_types_and_the_examples(wheel: Path) -> None:
    files = ("outage.csv", "explore.ipynb", *(f"{name}.pcapng" for name in examples.CAPTURES))
    needed = {"pybridge/report/templates/report.html.j2", "pybridge/py.typed", *(f"pybridge/examples/{name}" for name in files)}
    with zipfile.ZipFile(wheel) as archive:
        assert archive.read("pybridge/tcp_handshake.lua") == (ROOT / "plugin" / "tcp_handshake.lua").read_bytes()
        assert needed <= set(archive.namelist())


@pytest.mark.tshark
def test_a_wheel_without_the_repository_does_everything(wheel: Path, tmp_path: Path) -> None:
    site, home = tmp_path / "site", tmp_path / "home"
    home.mkdir()
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(site), str(wheel)], check=True)
    environment = os.environ | {"PYTHONPATH": str(site), "HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config")}

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    program = "import pybridge; from pybridge import examples; print(pybridge.__file__); print(examples.capture('refused'))"
    package, capture = run(sys.executable, "-c", program).splitlines()
    assert package.startswith(str(site))
    assert capture.startswith(str(site))
    pybridge_command = (sys.executable, "-m", "pybridge")
    assert run(*pybridge_command, "plugin", "path").startswith(str(site))
    assert "1 agree" in run(*pybridge_command, "verify", capture)
    assert "1 TCP connection" in run(*pybridge_command, "report", capture)
    assert "refused" in (home / "report.html").read_text(encoding="utf-8")
    assert run(*pybridge_command, "notebook") == "explore.ipynb\n"
    notebook = json.loads((home / "explore.ipynb").read_text(encoding="utf-8"))
    assert "examples.capture" in str(notebook["cells"])


def test_the_plugin_comes_with_the_package() -> None:
    assert plugin_files.path().name == plugin_files.NAME


def test_plugin_and_package_have_the_same_version() -> None:
    machine = lua54.LuaRuntime().execute((ROOT / "plugin" / "tcp_handshake.lua").read_text(encoding="utf-8"))
    assert pybridge.__version__ == machine.VERSION


def test_pybridge_does_without_dask() -> None:
    script = "import sys; sys.modules['dask'] = None; import pybridge.cli, pybridge.capture, pybridge.distributed"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "ImportError: pybridge.distributed needs Dask: pip install 'dask[dataframe,distributed]>=2026.1'." in done.stderr


def cited(text: str) -> set[str]:
    """Return the rules that a text names; `H1 to H7` names all between."""
    ranges = re.findall(r"\b([GEXFHTRNACDZ])(\d{1,2}) to \1(\d{1,2})\b", text)
    return set(CITATION.findall(text)) | {
        f"{chapter}{number}" for chapter, first, last in ranges for number in range(int(first), int(last) + 1)
    }


def cited_in(folder: str, pattern: str) -> set[str]:
    """Return the rules that comments and docstrings of source files name."""
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / folder).rglob(pattern)]
    assert texts
    return {rule for text in texts for part in re.findall(COMMENT, text) for rule in cited(part)}


CITED = {
    "plugin": cited_in("plugin/src", "*.lua"),
    "package": cited_in("pybridge", "*.py"),
    "goldens": {rule for golden in listing.load_all() for rule in cited(golden.rules)},
}
UNCITED = {
    "plugin": dict.fromkeys(
        ("C2", "C3", "C11", "C15", "C19", "C20", "C21", "C22"),
        "the plugin has no such field: `verification.SHARED`",
    )
    | dict.fromkeys(("C14",), "the plugin engine sums the plugin's annotations of segments"),
    "package": {"C17": "says what the plugin shows, and when"},
    "goldens": {
        "C20": "a time of the capture, which NAME.expected of every golden shows",
        "C17": "speaks of two passes, which no table shows: tests/wireshark/test_plugin.py",
        "H6": "Wireshark begins another stream for such a SYN (G4): tests/tcp feeds the state machines",
    },
}


@pytest.mark.parametrize("where", CITED)
def test_every_rule_is_cited_or_stands_on_a_short_list_with_the_reason(where: str) -> None:
    assert RULES - CITED[where] == set(UNCITED[where])


@pytest.mark.parametrize("where", CITED)
def test_every_rule_that_is_cited_is_in_the_specification(where: str) -> None:
    assert CITED[where] - RULES == set()


@pytest.mark.parametrize("script", [".ci/run", ".ci/system", "tools/screenshots.sh", "tools/test_versions.sh"])
def test_set_up_scripts_parse(script: str) -> None:
    subprocess.run(["bash", "-n", str(ROOT / script)], check=True)
