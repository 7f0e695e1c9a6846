# SPDX-License-Identifier: GPL-2.0-or-later
"""Measure everything that has a goal: `make bench`, or `python -m tools.bench --quick`.

Competitors take turns, in alternating order, so that other work of the machine slows all of them alike. The result is the ratio
of their medians. The table is written as JSON, for comparison with later runs.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib import metadata
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from tools import instructions

ROOT = Path(__file__).resolve().parent.parent
PLUGIN = ROOT / "plugin" / "tcp_handshake.lua"
SNAP = 128  # enough for all headers; memory does not depend on payload
PYSHARK_SHARE = 50  # pyshark reads a slice that is smaller by this factor
INSTRUCTION_FRAMES = 20_000  # counting is slow, and exact with few frames
NOBODY = 65534
KB, MB = 1024, 1024 * 1024
FAILURES = (click.ClickException, subprocess.CalledProcessError, OSError)

SHIM = """#!/bin/sh
for argument; do printf '%s\\0' "$argument"; done > "$BENCH_LOG/$$"
exec {tshark} "$@"
"""
PROBE = """
import atexit, json, os, resource, sys
@atexit.register
def write_usage():
    own = resource.getrusage(resource.RUSAGE_SELF)
    with open(os.environ["BENCH_PROBE"], "w") as file:
        json.dump({"python": own.ru_utime + own.ru_stime, "peak": own.ru_maxrss}, file)
from pybridge.cli import main
main(sys.argv[1:])
"""
NFSTREAM = """
import sys
from nfstream import NFStreamer
if __name__ == "__main__":
    print(sum(1 for _ in NFStreamer(source=sys.argv[1], n_dissections=0, statistical_analysis=False)))
"""

progress = Console(stderr=True)


@dataclass
class Run:
    """A measured run: seconds of the clock and of processor time, peak memory in bytes, processor time of Python alone."""

    wall: float
    cpu: float
    peak: int
    python: float | None = None


@dataclass
class Row:
    """A row of the table; `goal` is the upper limit of `value`, or with `least` the lower one; None if it is only reported."""

    work: str
    value: float | None
    unit: str = "times"
    goal: float | None = None
    least: bool = False
    spread: tuple[float, float] | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        """Whether the goal is met, in words."""
        if self.value is None:
            return "not measured"
        if self.goal is None:
            return "reported"
        met = self.value >= self.goal if self.least else self.value <= self.goal
        return "met" if met else "missed"


@dataclass
class Results:
    """The results, as they are written to the file."""

    machine: dict[str, str]
    method: dict[str, int]
    rows: list[Row] = field(default_factory=list)
    runs: dict[str, list[Run]] = field(default_factory=dict)

    def row(self, work: str, value: float | None, **more: Any) -> None:
        """Add a row."""
        self.rows.append(Row(work, value, **more))

    def ratio(
        self, work: str, above: Sequence[Run], below: Sequence[Run], *, by: str = "wall", scale: float = 1, **more: Any
    ) -> None:
        """Add a row with the ratio of medians; its spread is that of the single rounds."""
        a, b = ([getattr(run, by) for run in runs] for runs in (above, below))
        rounds = [scale * x / y for x, y in zip(a, b, strict=True)]
        note = f"{statistics.median(a):.2f} s to {statistics.median(b):.2f} s, {'processor' if by == 'cpu' else 'clock'}"
        value = scale * statistics.median(a) / statistics.median(b)
        self.row(work, value, spread=(min(rounds), max(rounds)), **{"note": note} | more)


def run(command: Sequence[str | Path], environment: Mapping[str, str] | None = None, *, probe: Path | None = None) -> Run:
    """Run a command without its output, and measure it with all its children."""
    with tempfile.TemporaryFile() as errors:
        begin = time.perf_counter()
        process = subprocess.Popen(
            list(map(str, command)), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors, env=environment
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            messages = errors.read().decode(errors="replace").strip()
            raise click.ClickException(
                f"{' '.join(map(str, command[:4]))} ... ended with {process.returncode}: {messages[-500:]}"
            )
    measured = Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * KB)
    if probe:
        own = json.loads(probe.read_text())
        measured.python, measured.peak = own["python"], own["peak"] * KB
    return measured


class Bench:
    """The measurements, one method for each group of competitors."""

    def __init__(self, folder: Path, frames: int, rounds: int, seed: int, slice_frames: int) -> None:
        self.folder, self.frames, self.rounds, self.seed, self.slice_frames = folder, frames, rounds, seed, slice_frames
        home = str(folder / "home")
        os.mkdir(home)
        self.environment = os.environ | {"HOME": home, "WIRESHARK_CONFIG_DIR": home, "BENCH_PROBE": str(folder / "probe.json")}
        self.capture = self.make("capture", frames)
        self.reading = self.reader()
        preferences = [after for before, after in pairwise(self.reading) if before == "-o"]
        self.layout = next(text for text in preferences if text.startswith("gui.column.format:"))
        self.lean: list[str] = [part for text in preferences if text != self.layout for part in ("-o", text)]
        method = {"frames": frames, "seed": seed, "rounds": rounds, "slice": slice_frames}
        self.results = Results(machine(), method)

    def make(self, name: str, frames: int, **options: str | int) -> Path:
        """Generate a capture."""
        path = self.folder / f"{name}.pcapng"
        progress.print(f"generating {path.name}: {frames:,} frames")
        more = [str(part) for option, value in options.items() for part in (f"--{option}", value)]
        arguments = ["--frames", str(frames), "--seed", str(self.seed), *more, str(path)]
        subprocess.run([sys.executable, "-m", "pybridge.examples.traffic", *arguments], cwd=ROOT, check=True)
        return path

    def reader(self) -> list[str]:
        """Return the command by which pybridge runs tshark, without the capture's name; a stand-in for tshark records it."""
        path, log = self.folder / "bin", self.folder / "log"
        path.mkdir()
        log.mkdir()
        shim = path / "tshark"
        shim.write_text(SHIM.format(tshark=shutil.which("tshark")))
        shim.chmod(0o755)
        sample = self.cut(self.capture, 100)
        environment = self.environment | {"PATH": f"{path}:{os.environ['PATH']}", "BENCH_LOG": str(log)}
        run([sys.executable, "-c", PROBE, "segments", sample, "-o", self.folder / "sample.parquet"], environment)
        commands = [file.read_text().split("\0")[:-1] for file in sorted(log.iterdir(), key=lambda file: file.stat().st_mtime)]
        reading = next(command for command in commands if any("gui.column.format" in argument for argument in command))
        place = reading.index("-r")
        return [*reading[:place], *reading[place + 2 :]]

    def cut(self, capture: Path, frames: int) -> Path:
        """Write the first frames to a capture, and return its path."""
        path = self.folder / f"{capture.stem}-{frames}.pcapng"
        run(["tshark", "-n", "-r", capture, "-c", str(frames), "-w", path], self.environment)
        return path

    def pybridge(self, command: str, capture: Path, ending: str = "parquet") -> Run:
        """Run a command of pybridge on a capture."""
        out = self.folder / f"{command}.{ending}"
        arguments: list[str | Path] = [sys.executable, "-c", PROBE, command, capture, "-o", out]
        return run(arguments, self.environment, probe=self.folder / "probe.json")

    def tshark(self, *arguments: str | Path, root: Path | None = None) -> Run:
        """Run tshark, either here, or as the user nobody in another system."""
        if not root:
            return run(["tshark", *arguments], self.environment)
        clean = {name: value for name, value in self.environment.items() if name not in ("HOME", "WIRESHARK_CONFIG_DIR")}
        return run(["chroot", f"--userspec={NOBODY}:{NOBODY}", root, "tshark", *arguments], clean | {"HOME": "/nonexistent"})

    def ask(self, function: str, *arguments: str | Path) -> Any:
        """Call a function of this module in a process of its own, so that this process stays small."""
        code = f"import json, sys; from tools import bench; print(json.dumps(bench.{function}(*sys.argv[1:])))"
        command = [sys.executable, "-c", code, *map(str, arguments)]
        done = subprocess.run(
            command, cwd=ROOT, env=self.environment, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        return json.loads(done.stdout)

    def race(self, competitors: Mapping[str, Callable[[], Run]]) -> list[list[Run]]:
        """Let competitors run in turns; return all runs of each."""
        runs: dict[str, list[Run]] = {name: [] for name in competitors}
        for number in range(self.rounds):
            for name in list(competitors)[:: -1 if number % 2 else 1]:
                runs[name].append(competitors[name]())
                progress.print(f"round {number + 1} of {self.rounds}: {name} {runs[name][-1].wall:.2f} s")
        self.results.runs |= runs
        return list(runs.values())

    def commands(self, nfstream: str) -> None:
        """Measure the commands of pybridge against tshark alone, and against NFStream."""
        twice = self.make("twice", 2 * self.frames)
        competitors: dict[str, Callable[[], Run]] = {
            "segments": partial(self.pybridge, "segments", self.capture),
            "tshark": partial(self.tshark, *self.reading, "-r", self.capture),
            "connections": partial(self.pybridge, "connections", self.capture),
            "report": partial(self.pybridge, "report", self.capture, "html"),
            "segments of twice": partial(self.pybridge, "segments", twice),
        }
        if subprocess.run([nfstream, "-c", "import nfstream"], check=False, capture_output=True).returncode == 0:
            competitors["NFStream"] = partial(run, [nfstream, "-c", NFSTREAM, self.capture])
        segments, tshark, connections, report, double, *others = self.race(competitors)
        twice.unlink()
        results = self.results
        python = statistics.median(run.python or 0 for run in segments)
        results.ratio("segments to Parquet / bare tshark, same columns", segments, tshark, goal=1.15)
        results.row("processor time of Python in that / of tshark", python / statistics.median(run.cpu for run in tshark))
        results.ratio("segments of twice the capture / of it", double, segments, goal=2.1)
        results.ratio("connections / segments", connections, segments, goal=1.3)
        results.ratio("report / segments", report, segments, goal=1.3)
        results.row("size of the report's page", (self.folder / "report.html").stat().st_size / MB, unit="MB", goal=6)
        if others:
            results.ratio("segments / NFStream (flows only)", segments, others[0])
        else:
            results.row("segments / NFStream (flows only)", None, note=f"{nfstream} has no nfstream")

    def readers(self, real: Path | None) -> None:
        """Measure other programs that read fields; they get a slice, because they take long."""
        packets = self.slice_frames // PYSHARK_SHARE
        few = self.cut(self.capture, packets)
        fields = [part for name in re.findall(r"%Cus:([\w.]+):0:U", self.layout) for part in ("-e", name)]
        for capture, kind in ((self.capture, "generated"), (real, "real")):
            if capture is None:
                self.results.row("tshark -T fields / segments, real traffic", None, goal=5, least=True, note="needs --real FILE")
                continue
            sample = self.cut(capture, self.slice_frames)
            competitors: dict[str, Callable[[], Run]] = {
                f"segments of a slice, {kind}": partial(self.pybridge, "segments", sample),
                f"tshark -T fields of a slice, {kind}": partial(self.tshark, "-n", "-r", sample, "-T", "fields", *fields),
            }
            if capture is self.capture:
                competitors["pyshark"] = partial(self.pyshark, few)
            segments, tshark, *pyshark = self.race(competitors)
            goal = 5 if capture is real else None
            self.results.ratio(f"tshark -T fields / segments, {kind} traffic", tshark, segments, goal=goal, least=True)
            if pyshark:
                rate = packets / statistics.median(run.wall for run in pyshark[0])
                work = "pyshark, default iteration / segments"
                note = f"{rate:.0f} packets/s"
                self.results.ratio(work, pyshark[0], segments, scale=PYSHARK_SHARE, goal=200, least=True, note=note)

    def pyshark(self, capture: Path) -> Run:
        """Run pyshark, measured from the first packet on, without its start."""
        wall = self.ask("seconds_of_pyshark", capture)
        return Run(wall, wall, 0)

    def memory(self, few: int, many: int) -> None:
        """Measure the peak memory of Python for two sizes of capture, and the memory of an open connection."""
        found = []
        for frames in (few, many):
            capture = self.make(f"memory-{frames}", frames, snap=SNAP)
            progress.print(f"reading {capture.name}")
            peak = self.pybridge("segments", capture).peak
            capture.unlink()
            found.append((peak, self.ask("connections_in", self.folder / "segments.parquet")))
            self.results.row(
                f"peak memory of Python, {frames:,} frames", peak / MB, unit="MB", note=f"{found[-1][1]:,} connections"
            )
        (before, fewer), (after, more) = found
        growth = (after - before) / (more - fewer)
        self.results.row("growth of that for each further connection", growth, unit="bytes", goal=KB)
        self.results.row("state of an open connection", self.ask("state_of_a_connection"), unit="bytes", goal=KB)

    def plugin(self, root: Path | None = None) -> None:
        """Measure tshark with the plugin against tshark without it."""
        with self.visible(root, self.capture) as (script, (capture,)):
            version = tshark_version(root)
            with_plugin = ["-X", f"lua_script:{script}"]
            try:
                self.tshark(*with_plugin, "-r", capture, "-c", "1", "-T", "fields", "-e", "tcp_handshake.role", root=root)
            except click.ClickException as error:
                self.results.row(f"tshark {version} with the plugin / without", None, note=error.message[-60:])
                return
            column: list[str | Path] = ["-n", "-T", "tabs", "-o", 'gui.column.format:"No.","%m"', "-r", capture]
            for kind, preferences, goal in (("default", [], 1.15), ("lean", self.lean, 1.6)):
                competitors: dict[str, list[str | Path]] = {
                    f"tshark {version}, {kind}, plugin": [*with_plugin, *column, *preferences],
                    f"tshark {version}, {kind}": [*column, *preferences],
                }
                commands = {name: partial(self.tshark, *arguments, root=root) for name, arguments in competitors.items()}
                with_it, without_it = self.race(commands)
                work = f"tshark {version} with the plugin / without, {kind} preferences"
                self.results.ratio(work, with_it, without_it, by="cpu", goal=goal if version.startswith("4.0.") else None)

    def plugin_instructions(self) -> None:
        """Count the instructions of tshark with the plugin and without it, which do not depend on what else the machine does."""
        if not shutil.which("valgrind"):
            self.results.row("instructions with the plugin / without", None, note="needs valgrind")
            return
        frames = min(self.frames, INSTRUCTION_FRAMES)
        for setting, (above, below) in instructions.measure(self.capture, frames, list(instructions.SETTINGS)).items():
            note = f"{above:,.0f} to {below:,.0f} for a frame"
            self.results.row(f"instructions with the plugin / without, {setting}", above / below, note=note)

    def plugin_memory(self) -> None:
        """Measure the plugin's memory for long transfers: by how much more tshark grows with the plugin than without."""
        extra, connections = [], []
        for frames in (self.frames // 2, self.frames):
            capture = self.make(f"transfers-{frames}", frames, snap=SNAP, only="transfer")
            arguments: list[str | Path] = ["-n", *self.lean, "-T", "tabs", "-o", 'gui.column.format:"No.","%m"', "-r", capture]
            progress.print(f"reading {capture.name} with and without the plugin")
            with_plugin = self.tshark("-X", f"lua_script:{PLUGIN}", *arguments)
            extra.append(with_plugin.peak - self.tshark(*arguments).peak)
            self.pybridge("segments", capture)
            connections.append(self.ask("connections_in", self.folder / "segments.parquet"))
            capture.unlink()
        self.results.row(
            "memory of the plugin for each further long transfer", (extra[1] - extra[0]) / (connections[1] - connections[0]),
            unit="bytes", note=f"{extra[0] / MB:.1f} MB, {connections[0]}; {extra[1] / MB:.1f} MB, {connections[1]}",
        )  # fmt: skip

    @contextmanager
    def visible(self, root: Path | None, *captures: Path) -> Iterator[tuple[Path, list[Path]]]:
        """Yield the paths of the plugin and of captures in another system; they are copied there."""
        if not root:
            yield PLUGIN, list(captures)
            return
        with tempfile.TemporaryDirectory(dir=root / "tmp") as name:
            os.chmod(name, 0o755)  # noqa: S103 - the user nobody must read it
            copies = [Path(shutil.copy(file, name)) for file in (PLUGIN, *captures)]
            inside = ["/" / copy.relative_to(root) for copy in copies]
            yield inside[0], inside[1:]


# ------------------------------------------------------------------------------------------------ called in their own process


def seconds_of_pyshark(capture: str) -> float:
    """Return the seconds that pyshark takes for all packets; the first one, which waits for the start, is extrapolated."""
    import pyshark  # noqa: PLC0415

    times = []
    packets = pyshark.FileCapture(capture)
    for _ in packets:
        times.append(time.perf_counter())
    packets.close()
    return (times[-1] - times[0]) * len(times) / (len(times) - 1)


def connections_in(table: str) -> int:
    """Return the number of connections in a table of segments."""
    import pyarrow.compute as pc  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    return int(pc.max(pq.read_table(table, columns=["stream"])["stream"]).as_py()) + 1


def state_of_a_connection(count: int = 50_000) -> float:
    """Return the bytes that the annotator holds for each of many open connections."""
    import gc  # noqa: PLC0415
    import tracemalloc  # noqa: PLC0415

    from pybridge.tcp.annotator import Annotator  # noqa: PLC0415
    from pybridge.tcp.model import Offer, Segment  # noqa: PLC0415
    from pybridge.tcp.vocabulary import ACK, SYN  # noqa: PLC0415

    def segments(stream: int) -> Iterator[Segment]:
        ends = [(f"10.1.{stream >> 8}.{stream & 255}", 50000), (f"192.0.2.{stream & 255}", 443)]
        numbers = [1_000_000 + 7 * stream, 2_000_000_000 + 11 * stream]
        steps = [(0, SYN, 0), (1, SYN | ACK, 0), (0, ACK, 0), (0, ACK, 517), (1, ACK, 0), (1, ACK, 1448), (0, ACK, 0)]
        for place, (sender, flags, length) in enumerate(steps):
            frame = 10 * stream + place
            offer = Offer(1460, 7, sack_permitted=True, timestamps=True) if flags & SYN else None
            ack = numbers[1 - sender] if flags & ACK else 0
            source_and_destination = (*ends[sender], *ends[1 - sender])
            yield Segment(
                frame,
                1_704_067_200_000_000_000 + frame,
                stream,
                *source_and_destination,
                flags,
                numbers[sender],
                ack,
                length,
                offer,
                1 + frame,
            )
            numbers[sender] += length + bool(flags & SYN)

    annotator = Annotator()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for stream in range(count):
        for segment in segments(stream):
            annotator.segment(*segment)
    gc.collect()
    return (tracemalloc.get_traced_memory()[0] - before) / count


# --------------------------------------------------------------------------------------------------------------- the machine


def tshark_version(root: Path | None = None) -> str:
    """Return the version of tshark, here or in another system."""
    command = ["chroot", str(root), "tshark"] if root else ["tshark"]
    text = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"TShark \(Wireshark\) (\d+\.\d+\.\d+)", text)
    if not found:
        raise click.ClickException(f"{' '.join(command)} does not tell its version.")
    return found[1]


def machine() -> dict[str, str]:
    """Return a description of the machine, and the versions of all programs."""
    text = subprocess.run(["tshark", "--version"], capture_output=True, text=True, check=True).stdout
    lua = re.search(r"Lua\s+([\d.]+\d)", text)
    try:
        names = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    except OSError:
        names = []
    return {
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "cores": str(os.cpu_count()),
        "load": " ".join(f"{load:.1f}" for load in os.getloadavg()),
        "system": platform.platform(),
        "tshark": tshark_version(),
        "Lua": lua[1] if lua else "none",
        "Python": platform.python_version(),
        **{name: metadata.version(name) for name in ("pandas", "pyarrow", "pyshark")},
    }


# ---------------------------------------------------------------------------------------------------------------- the table


def number(value: float, unit: str) -> str:
    """Return a value as text, with as many digits as are of use."""
    return f"{value:.2f}" if unit == "times" and value < 20 else f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}"


def show(results: Results, before: dict[str, Any] | None) -> None:
    """Print the table."""
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print("; ".join(f"{name} {value}" for name, value in results.machine.items()), highlight=False)
    method = "; ".join(f"{name} {value:,}" for name, value in results.method.items())
    console.print(
        f"{method}. Medians of rounds in which competitors take turns; 'rounds' has the range of single rounds.", highlight=False
    )
    if before and before["method"] != results.method:
        console.print("The earlier run was made with other settings:", before["method"], highlight=False)
    earlier = {row["work"]: row["value"] for row in before["rows"]} if before else {}
    heads = ["work", "measured", "rounds", "goal", "verdict", "detail"]
    table = Table(*heads[:2], *(["before"] if before else []), *heads[2:], pad_edge=False)
    for row in results.rows:
        measured = "" if row.value is None else f"{number(row.value, row.unit)} {row.unit}"
        earlier_value = earlier.get(row.work)
        past = [number(earlier_value, row.unit) if earlier_value is not None else ""] if before else []
        spread = " to ".join(number(value, row.unit) for value in row.spread) if row.spread else ""
        goal = f"{'at least' if row.least else 'at most'} {row.goal:g}" if row.goal is not None else ""
        table.add_row(
            row.work, measured, *past, spread, goal, row.verdict, row.note, style="red" if row.verdict == "missed" else None
        )
    console.print(table)


@click.command(help=__doc__)
@click.option("--frames", type=click.IntRange(min=1000), default=500_000, show_default=True, help="Frames in the capture.")
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True)
@click.option("--seed", default=1, show_default=True)
@click.option("--slice", "slice_frames", default=100_000, show_default=True, help="Frames for the slow readers.")
@click.option("--quick", is_flag=True, help="A tenth of everything and three rounds: to check that everything runs.")
@click.option("--real", type=click.Path(exists=True, path_type=Path), help="A capture of real application traffic.")
@click.option(
    "--chroot", "roots", type=click.Path(exists=True, path_type=Path), multiple=True, help="Systems with another tshark."
)
@click.option("--nfstream", default=sys.executable, help="A Python that has nfstream.")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("bench.json"), show_default=True)
@click.option("--compare", type=click.Path(path_type=Path), help="The output of an earlier run, if it exists.")
def main(
    frames: int,
    rounds: int,
    seed: int,
    slice_frames: int,
    quick: bool,
    real: Path | None,
    roots: tuple[Path, ...],
    nfstream: str,
    output: Path,
    compare: Path | None,
) -> None:
    """Measure everything, print the table, and write it."""
    sizes = (1_000_000, 4_000_000)
    if quick:
        frames, rounds, slice_frames, sizes = frames // 10, 3, slice_frames // 10, (100_000, 400_000)
    before = json.loads(compare.read_text()) if compare and compare.exists() else None
    with tempfile.TemporaryDirectory(prefix="pybridge-bench-") as folder:
        bench = Bench(Path(folder), frames, rounds, seed, min(slice_frames, frames))
        groups: list[tuple[str, Callable[[], None]]] = [
            ("commands", partial(bench.commands, nfstream)),
            ("readers", partial(bench.readers, real)),
            *(("plugin", partial(bench.plugin, root and root.resolve())) for root in (None, *roots)),
            ("plugin_instructions", bench.plugin_instructions),
            ("plugin_memory", bench.plugin_memory),
            ("memory", partial(bench.memory, *sizes)),
        ]
        for name, measure in groups:
            try:
                measure()
            except FAILURES as error:  # so that one failure does not lose an hour's work
                bench.results.row(name, None, note=str(error)[-100:])
    results = bench.results
    show(results, before)
    rows = [asdict(row) | {"verdict": row.verdict} for row in results.rows]
    output.write_text(json.dumps(asdict(results) | {"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
