# SPDX-License-Identifier: GPL-2.0-or-later
"""Which room may import which, as docs/architecture.md says."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tools import architecture

IMPORTS = architecture.imports()
GRAPH = architecture.rooms()

MAY_START_PROCESSES = {"wireshark"}
MAY_USE_PANDAS = {"tables", "report", "capture", "verification", "distributed", "examples"}
STARTS_PROCESSES = {"subprocess", "multiprocessing", "pyshark"}
HTML = re.compile(r"</?(?:a|body|div|html|p|rect|span|svg|table|td|text|tr)\b[^<]*>")


def importers(package: str, *, for_types: bool = False) -> set[str]:
    """The rooms that import a package; with `for_types` also those where only type checkers do."""
    return {
        architecture.room_of(importer)
        for importer, imported, typing_only in IMPORTS
        if imported.split(".")[0] == package and (for_types or not typing_only)
    }


def circle(graph: architecture.Rooms) -> list[str]:
    """The rooms that import themselves through others."""
    return [room for room in graph if room in architecture.reachable(graph, room)]


def test_the_picture_in_the_documentation_is_that_of_the_code() -> None:
    page = architecture.PAGE.read_text(encoding="utf-8")
    assert architecture.BEGIN in page
    assert architecture.updated(page) == page, "run python -m tools.architecture"


def test_a_stale_picture_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    stale = tmp_path / "architecture.md"
    stale.write_text(f"Before.\n{architecture.BEGIN}\nold\n{architecture.END}\nAfter.\n", encoding="utf-8")
    monkeypatch.setattr(architecture, "PAGE", stale)
    assert architecture.main(["--check"]) == 1
    assert "python -m tools.architecture" in capsys.readouterr().err
    assert architecture.main([]) == 0
    assert architecture.main(["--check"]) == 0
    assert stale.read_text(encoding="utf-8").startswith("Before.\n")
    assert stale.read_text(encoding="utf-8").endswith("\nAfter.\n")


def test_the_state_machine_imports_nothing_but_the_standard_library() -> None:
    foreign = [
        (importer, imported)
        for importer, imported, _ in IMPORTS
        if architecture.room_of(importer) == "tcp"
        and not imported.startswith("pybridge.tcp")
        and imported.split(".")[0] not in sys.stdlib_module_names
    ]
    assert foreign == []
    assert GRAPH["tcp"] == frozenset()


def test_the_state_machine_does_no_io() -> None:
    io = {"asyncio", "io", "os", "pathlib", "socket", "subprocess", "tempfile", "threading", "time"}
    assert [pair for pair in IMPORTS if architecture.room_of(pair.importer) == "tcp" and pair.imported.split(".")[0] in io] == []


def test_only_the_entry_points_import_the_command_line() -> None:
    assert {room for room, others in GRAPH.items() if "cli" in others} == {"__main__"}


def test_no_room_imports_itself_through_others() -> None:
    assert circle(GRAPH) == []


def test_a_circle_would_be_found() -> None:
    assert circle({"a": frozenset({"b"}), "b": frozenset({"c"}), "c": frozenset({"b"})}) == ["b", "c"]


@pytest.mark.parametrize("package", sorted(STARTS_PROCESSES))
def test_only_wireshark_starts_programs(package: str) -> None:
    assert importers(package) <= MAY_START_PROCESSES


def test_only_the_listed_rooms_use_pandas() -> None:
    assert importers("pandas") <= MAY_USE_PANDAS


def test_pandas_is_not_needed_to_import_the_others() -> None:
    # They name its types; only type checkers import pandas there.
    assert importers("pandas", for_types=True) - importers("pandas") == {"cli", "text"}


def test_only_the_report_writes_html() -> None:
    texts = {module: path.read_text(encoding="utf-8") for module, path in architecture.modules().items()}
    found = {architecture.room_of(module) for module, text in texts.items() if re.search(HTML, text)}
    assert found == {"report", "examples"}  # the web pages in the traffic that examples generates
    assert importers("jinja2") == {"report"}
