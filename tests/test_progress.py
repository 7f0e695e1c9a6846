# SPDX-License-Identifier: GPL-2.0-or-later
"""Progress on a terminal."""

from __future__ import annotations

import io
import sys
import time

import pytest

from pybridge import progress


class Terminal(io.StringIO):
    """A standard error that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("seconds", [0.07, 0.12])
def test_what_was_shown_is_taken_away_however_soon_the_work_ends(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr(progress, "DELAY", 0.05)
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with progress.counting("looking"):
        time.sleep(seconds)
    *_, last, after = terminal.getvalue().split("\r")
    assert "looking" in terminal.getvalue()
    assert (last.strip(), after) == ("", "")
