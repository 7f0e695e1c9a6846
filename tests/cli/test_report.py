# SPDX-License-Identifier: GPL-2.0-or-later
"""`pybridge report`: a page, and a summary on the terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Run
from tools.goldens.listing import find

pytestmark = pytest.mark.tshark


def test_the_report_is_a_page_and_a_summary(run: Run, tmp_path: Path) -> None:
    done = run("report", find("refused.pcapng"), "-o", "out.html")
    page = (tmp_path / "out.html").read_text(encoding="utf-8")
    assert done.returncode == 0
    assert "refused" in done.stdout
    assert "connection-refused" in done.stdout
    assert "<svg" in page
    assert "default-src 'none'" in page, "what that means is tried in tests/report/test_browser.py"


def test_a_report_of_standard_input_is_written(run: Run, tmp_path: Path) -> None:
    done = run("report", "-", "-o", "page.html", stdin=(find("refused.pcapng")).read_bytes())
    assert done.returncode == 0
    assert "connection-refused" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_an_existing_report_is_replaced_after_a_notice(run: Run, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("old")
    done = run("report", find("refused.pcapng"))
    assert done.stderr.splitlines() == [
        "pybridge: report.html exists: it is replaced when the new one is complete.",
        "pybridge: report written to report.html",
    ]
    assert "refused" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["report.html"]
    (tmp_path / "report.html").write_text("old")
    assert run("report", "missing.pcapng").returncode == 2
    assert (tmp_path / "report.html").read_text() == "old"
