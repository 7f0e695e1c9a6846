# SPDX-License-Identifier: GPL-2.0-or-later
"""`pybridge.read` in the programs of others."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import pybridge
from pybridge.engine import EngineName
from tools.goldens.listing import find

pytestmark = pytest.mark.tshark

ENGINES = ["python", "plugin"]


def test_reading_works_inside_a_running_event_loop() -> None:
    async def inside() -> int:
        return len(pybridge.read(find("refused.pcapng")).segments)

    assert asyncio.run(inside()) == 2


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="pyshark 0.6 by itself does not run on Python 3.14")
def test_reading_works_beside_a_pyshark_of_the_application(tmp_path: Path) -> None:
    program = (
        "import pyshark, pybridge\n"
        f"path = {str(find('refused.pcapng'))!r}\n"
        "capture = pyshark.FileCapture(path)\n"
        "first = len(list(capture))\n"
        "capture.close()\n"
        "print(first, len(pybridge.read(path).segments), pybridge.read(path).packet(2).tcp.dstport)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("2 2 50000\n", "")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_capture_without_tcp_gives_empty_tables_with_all_types(engine: EngineName) -> None:
    empty, full = pybridge.read(find("no-tcp.pcapng"), engine), pybridge.read(find("article-wget.pcapng"), engine)
    assert (len(empty.segments), len(empty.connections)) == (0, 0)
    pd.testing.assert_series_equal(empty.segments.dtypes, full.segments.dtypes)
    pd.testing.assert_series_equal(empty.connections.dtypes, full.connections.dtypes)
    assert empty.connections.index.dtype == full.connections.index.dtype
