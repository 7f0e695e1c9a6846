# SPDX-License-Identifier: GPL-2.0-or-later
"""A cluster of real worker processes gives the tables of one machine, also when a worker is killed or a file is damaged."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import dask
import distributed
import pandas as pd
import pytest
from packaging.version import Version

import pybridge
import pybridge.distributed
from pybridge.examples import traffic

pytestmark = [pytest.mark.cluster, pytest.mark.tshark]

FRAMES = 6000
PIECES = 50
TSHARK = """#!/bin/sh
echo "$PPID $*" >> "{folder}/log"
case "$*" in *fatal*) if mkdir "{folder}/killed" 2>/dev/null; then kill -9 $PPID; fi ;; esac
exec {tshark} "$@"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("distributed")


@pytest.fixture(scope="module")
def whole(folder: Path) -> Path:
    path = folder / "whole.pcapng"
    traffic.write(path, FRAMES)
    return path


@pytest.fixture(scope="module")
def path(folder: Path) -> str:
    """A search path whose tshark logs its worker, and kills the first one that opens a file with `fatal` in its name."""
    wrapper = folder / "bin" / "tshark"
    wrapper.parent.mkdir()
    wrapper.write_text(TSHARK.format(folder=folder, tshark=shutil.which("tshark")))
    wrapper.chmod(0o755)
    return str(wrapper.parent) + os.pathsep + os.environ["PATH"]


@pytest.fixture(scope="module")
def client(path: str) -> Iterator[distributed.Client]:
    """Start two workers that no test may kill: Dask does not always start a killed one again."""
    with cluster(2, path) as started:
        yield started


@pytest.fixture
def mortal(path: str) -> Iterator[distributed.Client]:
    """Start two workers for a test that kills one."""
    with cluster(2, path) as started:
        yield started


@contextmanager
def cluster(workers: int, path: str) -> Iterator[distributed.Client]:
    local = distributed.LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        dashboard_address=":0",
        env={"PATH": path},
        preload=[
            "pybridge.distributed"
        ],  # else two threads of a new worker import it at the same time, which Python 3.14 can refuse
    )
    with local, distributed.Client(local) as client:
        yield client


def cut(whole: Path, folder: Path, *frames: str) -> list[str]:
    """Write a file for each of these ranges of frames, in the order of the list."""
    folder.mkdir()
    paths = []
    for number, some in enumerate(frames):
        paths.append(str(folder / f"{number:02}.pcapng"))
        subprocess.run(["editcap", "-r", whole, paths[-1], *some.split()], check=True)
    return paths


def assert_same(found: pybridge.distributed.Captures, whole: Path, *, other_frames: bool = False) -> None:
    """Assert that the tables are those of the whole capture read on this machine, apart from the names of connections."""
    expected = pybridge.read(whole, progress=False)
    segments, connections = dask.compute(found.segments, found.connections)
    if other_frames:  # one partition: the order tells which frame is which
        numbers = dict(zip(segments["frame"], expected.segments["frame"], strict=True))
        for name in ("frame", "responds_to"):
            segments[name] = segments[name].map(numbers).astype(segments[name].dtype)
        for table in (connections, expected.connections):  # the frame of a network error is in no table
            table.loc[table["diagnosis"].isin(("filtered", "host-unreachable")), "evidence"] = None
        evidence = connections["evidence"].map(
            lambda texts: "+".join(str(numbers[int(text)]) for text in texts.split("+")), "ignore"
        )
        connections["evidence"] = evidence.astype(connections["evidence"].dtype)
    segments = segments.sort_values("frame", ignore_index=True)
    streams = dict(zip(segments.pop("connection"), expected.segments.pop("stream"), strict=True))
    pd.testing.assert_frame_equal(segments, expected.segments)
    connections.index = connections.index.map(streams).rename("stream")
    pd.testing.assert_frame_equal(connections.sort_index(), expected.connections)


def test_a_capture_cut_into_fifty_files_gives_the_tables_of_the_whole_though_a_worker_is_killed(
    mortal: distributed.Client, whole: Path, folder: Path, tmp_path: Path
) -> None:
    size = FRAMES // PIECES
    paths = cut(whole, tmp_path / "pieces", *(f"{start}-{start + size - 1}" for start in range(1, FRAMES, size)))
    paths[20] = str(Path(paths[20]).rename(tmp_path / "pieces" / "fatal.pcapng"))
    found = pybridge.distributed.read(paths, mortal)
    assert (folder / "killed").exists()
    assert (len(found.files), len(found.problems)) == (PIECES, 0)
    assert_same(found, whole)


def test_what_a_killed_worker_had_dissected_is_dissected_again(mortal: distributed.Client, whole: Path, tmp_path: Path) -> None:
    found = pybridge.distributed.read(cut(whole, tmp_path / "pieces", "1-2000", "2001-4000", "4001-6000"), mortal)
    worker, *_ = mortal.run(os.getpid).values()
    os.kill(worker, 9)
    assert_same(found, whole)


def test_tables_go_to_parquet_by_partition_and_name_connections_alike_however_many(
    client: distributed.Client, whole: Path, tmp_path: Path
) -> None:
    found = pybridge.distributed.read(whole, client, npartitions=3)
    segments, connections, *_ = dask.compute(
        found.segments,
        found.connections,
        found.segments.to_parquet(tmp_path / "segments", write_index=False, compute=False),
        found.connections.to_parquet(tmp_path / "connections", compute=False),
    )
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "segments"), segments.reset_index(drop=True))
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "connections"), connections)
    (again,) = dask.compute(pybridge.distributed.read([whole], client, npartitions=2).connections)
    pd.testing.assert_frame_equal(again.sort_index(), connections.sort_index())
    assert [len(list((tmp_path / name).glob("*.parquet"))) for name in ("segments", "connections")] == [3, 3]


@pytest.mark.parametrize(
    "frames",
    [
        ("1-200 401-600", "201-400"),
        ("101-200 1-100 301-400", "201-300"),
        ("1-300", "1-300"),
        ("201-300", "1-200"),
    ],
    ids=["files overlap", "a clock steps back", "one file twice", "in another order"],
)
def test_files_are_put_in_order_as_mergecap_does(
    client: distributed.Client, whole: Path, tmp_path: Path, frames: Sequence[str]
) -> None:
    paths = []
    for number, ranges in enumerate(frames):
        parts = cut(whole, tmp_path / f"parts{number}", *ranges.split())
        paths.append(str(tmp_path / f"{number}.pcapng"))
        subprocess.run(["mergecap", "-a", "-w", paths[-1], *parts], check=True)  # concatenated: editcap would sort the frames
    subprocess.run(["mergecap", "-w", tmp_path / "merged.pcapng", *paths], check=True)
    found = pybridge.distributed.read(paths, client, npartitions=1)
    assert_same(found, tmp_path / "merged.pcapng", other_frames=True)


def test_bad_files_are_named_and_the_rest_is_done(client: distributed.Client, whole: Path, tmp_path: Path) -> None:
    good, short = cut(whole, tmp_path / "pieces", "1-300", "301-400")
    Path(short).write_bytes(Path(short).read_bytes()[:-10])
    (tmp_path / "text.pcap").write_text("Hello, this is certainly no capture.")
    picture = Path(__file__).parent.parent.parent / "docs" / "images" / "report.png"
    paths = [good, tmp_path / "missing.pcap", tmp_path / "text.pcap", tmp_path, picture, short]
    found = pybridge.distributed.read(paths, client, npartitions=1)
    said = found.problems["problem"].tolist()
    for path, problem, reason in zip(
        paths[1:],
        said,
        ["does not exist", "is not a capture", "is a folder", "is not a capture", "ends in the middle of a packet"],
        strict=True,
    ):
        assert f"{path} {reason}" in problem
    assert found.files["frames"].tolist() == [300, 0, 0, 0, 0, 99]
    subprocess.run(["editcap", "-r", whole, tmp_path / "readable.pcapng", "1-399"], check=True)
    assert_same(found, tmp_path / "readable.pcapng")


def test_a_file_is_dissected_where_it_lies(client: distributed.Client, whole: Path, folder: Path, tmp_path: Path) -> None:
    paths = cut(whole, tmp_path / "pieces", *["1-10"] * 6)
    workers = client.run(os.getpid)
    where = {path: list(workers)[number // 3] for number, path in enumerate(paths)}
    pybridge.distributed.read(where, client)
    log = (folder / "log").read_text().splitlines()
    ran = {path: int(line.split()[0]) for line in log for path in paths if line.endswith(path)}
    assert ran == {path: workers[worker] for path, worker in where.items()}


def test_a_worker_without_tshark_is_named(whole: Path, tmp_path: Path) -> None:
    with cluster(1, str(tmp_path)) as client:
        (worker,) = client.run(os.getpid)
        with pytest.raises(pybridge.TSharkError, match=f"^Worker {worker}: tshark was not found: install Wireshark"):
            pybridge.distributed.read([whole], client)


def test_a_worker_with_another_tshark_is_named(client: distributed.Client, whole: Path) -> None:
    future = client.submit(pybridge.distributed._dissect, str(whole), 0, Version("99"))
    with pytest.raises(pybridge.TSharkError, match=r"^Worker tcp://\S+ has tshark \S+, another has 99: install the same"):
        future.result()


def test_an_empty_list_of_paths_is_an_error(client: distributed.Client) -> None:
    with pytest.raises(ValueError, match="name at least one"):
        pybridge.distributed.read([], client)
