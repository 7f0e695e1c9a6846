# SPDX-License-Identifier: GPL-2.0-or-later
"""Measure how `pybridge.distributed` grows with the work and the workers (docs/scale.md): python -m tools.scale."""

from __future__ import annotations

import resource
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import click
import distributed
from dask.base import persist

import pybridge.distributed
from pybridge.examples import traffic

WORK = (1, 2, 4)
WORKERS = (1, 2)


def once(paths: list[Path], workers: int) -> tuple[float, ...]:
    """Annotate the captures once, and return how long it took.

    Returns
    -------
    tuple of float
        Seconds of the clock, seconds of processor time of all workers and of the busiest one (with their tsharks), and the peak
        memory of the largest worker in MB.
    """
    local = distributed.LocalCluster(n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=":0")
    with local, distributed.Client(local) as client:
        client.run(__import__, "pybridge.distributed")
        before = client.run(_used)
        start = time.monotonic()
        captures = pybridge.distributed.read(paths, client)
        distributed.wait(persist(captures.segments, captures.connections))  # type: ignore[no-untyped-call]
        seconds = time.monotonic() - start
        after = client.run(_used)
    used = [after[worker][0] - before[worker][0] for worker in before]
    return seconds, sum(used), max(used), max(peak for _, peak in after.values())


def _used() -> tuple[float, float]:
    """Return the seconds of processor time of this process and its children, and its peak memory in MB."""
    own, tsharks = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return sum(usage.ru_utime + usage.ru_stime for usage in (own, tsharks)), own.ru_maxrss / 1024


@click.command(help=__doc__)
@click.option("--frames", default=25_000, show_default=True, help="Frames in a file.")
@click.option("--files", default=4, show_default=True, help="Files of the smallest case.")
@click.option("--rounds", default=3, show_default=True)
def main(frames: int, files: int, rounds: int) -> None:
    """Measure all cases; every second round runs them in reverse order."""
    cases = [(work, workers) for work in WORK for workers in WORKERS]
    runs: dict[tuple[int, int], list[tuple[float, ...]]] = {case: [] for case in cases}
    with tempfile.TemporaryDirectory() as folder:
        traffic.write(Path(folder) / "whole.pcapng", frames * files * max(WORK))
        subprocess.run(["editcap", "-c", str(frames), f"{folder}/whole.pcapng", f"{folder}/cut.pcapng"], check=True)
        paths = sorted(Path(folder).glob("cut_*"))
        for number in range(rounds):
            for work, workers in cases[:: -1 if number % 2 else 1]:
                runs[work, workers].append(once(paths[: files * work], workers))
    print("work  workers  clock s  processor s  busiest worker s  peak MB  (medians)")
    for (work, workers), measured in runs.items():
        medians = map(statistics.median, zip(*measured, strict=True))
        print("{:4}  {:7}  {:7.1f}  {:11.1f}  {:16.1f}  {:7.0f}".format(work, workers, *medians))


if __name__ == "__main__":
    main()
