# SPDX-License-Identifier: GPL-2.0-or-later
"""Count the instructions that tshark needs for a frame, with the plugin and without it: `python -m tools.instructions`.

Unlike seconds, instructions are the same on a busy machine: two runs differ by about 0.1 %. valgrind counts them. The start of
tshark, which is a run on the first frame alone, is subtracted.

With --check, the plugin's own instructions on generated traffic are compared with the recorded ones, for the tests: the exit
status is 1 if they have grown by more than 5 %. With --record they are recorded.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from pybridge.wireshark.plugin_files import PROFILE
from pybridge.wireshark.process import LEAN

ROOT = Path(__file__).resolve().parent.parent
PLUGIN = ROOT / "plugin" / "tcp_handshake.lua"
RECORD = Path(__file__).with_suffix(".json")
CHECKED_FRAMES = 5000
MOST_GROWTH = 1.05
NUMBER = 'gui.column.format:"No.","%m"'


def _columns(*fields: str) -> str:
    return ",".join([NUMBER, *(f'"{index}","%Cus:{field}:0:R"' for index, field in enumerate(fields))])


# How tshark prints: its arguments with the plugin, and those of tshark alone.
_TABS = ["-T", "tabs", "-o"]
_LEAN = [*_TABS, NUMBER, *(part for name, value in LEAN.items() for part in ("-o", f"{name}:{value}"))]
_OWN_COLUMNS = [*_TABS, _columns("tcp_handshake.role", "tcp_handshake.client_state", "tcp_handshake.server_state")]
_PROFILE = ["-C", PROFILE, "--color"]
SETTINGS: dict[str, tuple[list[str], list[str]]] = {
    "default": ([*_TABS, NUMBER], [*_TABS, NUMBER]),
    "lean": (_LEAN, _LEAN),
    "columns": (_OWN_COLUMNS, [*_TABS, NUMBER]),
    "columns, against three of tcp": (_OWN_COLUMNS, [*_TABS, _columns("tcp.stream", "tcp.seq", "tcp.ack")]),
    "profile": (_PROFILE, _PROFILE),
    "two passes": (["-2", *_TABS, NUMBER], ["-2", *_TABS, NUMBER]),
}


def count(arguments: Sequence[str | Path], home: Path) -> int:
    """Return how many instructions a run of tshark takes.

    Raises
    ------
    ClickException
        tshark or valgrind fails.
    """
    tool = ["valgrind", "--tool=cachegrind", "--cache-sim=no", f"--cachegrind-out-file={os.devnull}"]
    environment = os.environ | {"HOME": str(home), "WIRESHARK_CONFIG_DIR": str(home), "COLORTERM": "truecolor"}
    command = [*tool, "tshark", "-n", *map(str, arguments)]
    done = subprocess.run(command, env=environment, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    found = re.search(r"I\s+refs:\s+([\d,]+)", done.stderr)
    if done.returncode or not found or "Lua: Error" in done.stderr:
        raise click.ClickException(f"{' '.join(command[4:])} ended with {done.returncode}: {done.stderr[-500:]}")
    return int(found[1].replace(",", ""))


def per_frame(arguments: Sequence[str | Path], capture: Path, frames: int, home: Path) -> float:
    """Return how many instructions tshark takes for each frame of a capture, its start not counted."""
    counts = [count([*arguments, "-r", capture, "-c", str(last)], home) for last in (1, frames)]
    return (counts[1] - counts[0]) / (frames - 1)


def measure(capture: Path, frames: int, names: Sequence[str], plugin: Path = PLUGIN) -> dict[str, tuple[float, float]]:
    """Return the instructions per frame with the plugin and without it, by the name of the setting."""
    with tempfile.TemporaryDirectory(prefix="pybridge-instructions-") as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        home = Path(folder)
        shutil.copytree(PLUGIN.parent / "profile", home / "profiles" / PROFILE)
        script: list[str | Path] = ["-X", f"lua_script:{plugin}"]
        runs = {}
        for name in names:
            with_it, without_it = SETTINGS[name]
            runs[name] = (
                pool.submit(per_frame, [*script, *with_it], capture, frames, home),
                pool.submit(per_frame, without_it, capture, frames, home),
            )
        return {name: (with_it.result(), without_it.result()) for name, (with_it, without_it) in runs.items()}


def generate(path: Path, frames: int) -> Path:
    """Write a capture of generated traffic."""
    command = [sys.executable, "-m", "pybridge.examples.traffic", "--frames", str(frames), "--seed", "1", str(path)]
    subprocess.run(command, cwd=ROOT, check=True)
    return path


def tshark_version() -> str:
    """Return the version of tshark, with that of its package: another build takes other instructions."""
    text = subprocess.run(["tshark", "--version"], capture_output=True, text=True, check=True).stdout
    return text.partition("(Git v")[2].partition(")")[0] or text.partition("\n")[0]


def plugin_instructions(folder: Path) -> int:
    """Return the plugin's own instructions for a frame of generated traffic, those that tshark alone takes not counted."""
    with_it, without_it = measure(generate(folder / "generated.pcapng", CHECKED_FRAMES), CHECKED_FRAMES, ["default"])["default"]
    return round(with_it - without_it)


def check(folder: Path, *, record: bool = False) -> None:
    """Compare the plugin's own instructions with the recorded ones, or record them.

    Raises
    ------
    ClickException
        They have grown by more than 5 %.
    """
    recorded: dict[str, int] = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    version = tshark_version()
    if not record and version not in recorded:
        click.echo(f"nothing is recorded for tshark {version}: {RECORD.name} has {', '.join(recorded)}")
        return
    now = plugin_instructions(folder)
    before = recorded.get(version, now)
    click.echo(f"tshark {version}: the plugin takes {now:,} instructions for a frame; recorded: {before:,}")
    if record:
        RECORD.write_text(json.dumps(recorded | {version: now}, indent=1) + "\n")
    elif now > MOST_GROWTH * before:
        raise click.ClickException(
            f"The plugin takes {now / before - 1:.1%} more instructions than {RECORD.name} says. Find out why; if it has to be, "
            "say so in docs/performance.md, and record it: python -m tools.instructions --record."
        )


@click.command(help=__doc__)
@click.argument("captures", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--frames", default=20_000, show_default=True, help="How many frames of each capture.")
@click.option("--setting", "names", type=click.Choice(list(SETTINGS)), multiple=True, help="Measure only this one.")
@click.option("--plugin", type=click.Path(exists=True, path_type=Path), default=PLUGIN, help="Another version of the plugin.")
@click.option("--check", "checks", is_flag=True, help="Compare with the recorded instructions.")
@click.option("--record", is_flag=True, help="Record the instructions.")
def main(captures: tuple[Path, ...], frames: int, names: tuple[str, ...], plugin: Path, checks: bool, record: bool) -> None:
    """Print a table for each capture; without one, for generated traffic."""
    with tempfile.TemporaryDirectory(prefix="pybridge-instructions-") as name:
        folder = Path(name)
        if checks or record:
            check(folder, record=record)
            return
        for capture in captures or [generate(folder / "generated.pcapng", frames)]:
            table = Table("setting", "with the plugin", "without", "more", "ratio", title=f"{capture.name}, {frames:,} frames")
            for setting, (above, below) in measure(capture, frames, names or list(SETTINGS), plugin).items():
                table.add_row(setting, f"{above:,.0f}", f"{below:,.0f}", f"{above - below:,.0f}", f"{above / below:.2f}")
            Console().print(table)


if __name__ == "__main__":
    main()
