# SPDX-License-Identifier: GPL-2.0-or-later
"""An error is one clear sentence and an exit status, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import pybridge
from pybridge.wireshark.plugin_engine import PluginEngine
from tests.conftest import Run
from tools.goldens.listing import find

ENGINES = ["python", "plugin"]
ROOT = Path(__file__).resolve().parent.parent.parent


def sentence(run: Run, *arguments: str | Path, status: int = 2, **environment: str) -> str:
    done = run(*arguments, **environment)
    assert (status, "") == (done.returncode, done.stdout)
    (line,) = done.stderr.splitlines()
    assert line.startswith("pybridge: ")
    assert line.endswith(".")
    return line


@pytest.mark.tshark
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("missing.pcap", None, "does not exist"),
        ("empty.pcap", b"", "is empty"),
        ("text.pcap", b"Hello, this is certainly no capture.", "is not a capture that tshark understands"),
    ],
)
def test_a_file_that_is_no_capture_is_named_with_the_reason(
    run: Run, tmp_path: Path, name: str, content: bytes | None, said: str, engine: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert f"{name} {said}" in sentence(run, "segments", name, "--engine", engine)


def test_a_folder_is_refused_where_a_file_is_expected(run: Run, tmp_path: Path) -> None:
    assert "is a folder" in sentence(run, "live", tmp_path)


def test_escape_sequences_in_a_file_name_are_escaped_in_messages(run: Run) -> None:
    assert "\\x1b[31mred does not exist" in sentence(run, "segments", "\x1b[31mred")


def test_a_capture_without_read_permission_is_named_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "secret.pcapng"
    shutil.copy(find("refused.pcapng"), path)
    path.chmod(0)
    tmp_path.chmod(0o755)
    # Root can read everything, so the check runs in a child that drops its rights after importing.
    program = (
        "import os; from pybridge.errors import CaptureError; from pybridge.wireshark.capture_source import check_file\n"
        "if os.geteuid() == 0: os.setgroups([]); os.setegid(65534); os.seteuid(65534)\n"
        f"try: check_file({path.name!r})\n"
        "except CaptureError as e: print(e)"
    )
    script = [sys.executable, "-c", program]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    descriptor = os.open(tmp_path, os.O_RDONLY)
    done = subprocess.run(
        script, capture_output=True, text=True, check=True, env=environment, preexec_fn=lambda: os.fchdir(descriptor)
    )
    os.close(descriptor)
    assert done.stdout == "secret.pcapng cannot be read (Permission denied): check its name and permissions.\n"


@pytest.mark.tshark
@pytest.mark.parametrize("engine", ENGINES)
def test_of_a_capture_cut_short_all_whole_packets_are_annotated(run: Run, tmp_path: Path, engine: str) -> None:
    (tmp_path / "cut.pcapng").write_bytes((find("article-wget.pcapng")).read_bytes()[:-40])
    done = run("segments", "cut.pcapng", "--format", "csv", "--engine", engine)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 10)  # the heading and nine of ten segments
    assert done.stderr == "pybridge: cut.pcapng ends in the middle of a packet: all whole packets before that were annotated.\n"


@pytest.mark.tshark
@pytest.mark.parametrize("command", ["connections", "verify"])
def test_many_captures_that_are_cut_short_are_one_message(run: Run, tmp_path: Path, command: str) -> None:
    names = ["a.pcapng", "b.pcapng", "c.pcapng"]
    for name in names:
        (tmp_path / name).write_bytes(find("refused.pcapng").read_bytes()[:-20])
    said = run(command, *names).stderr.splitlines()
    assert [line.partition(". The first: ")[0] for line in said] == ["pybridge: 3 of 3 captures were annotated only in part"]


@pytest.mark.tshark
def test_a_frame_that_does_not_exist_raises_an_error_with_its_number() -> None:
    with pytest.raises(pybridge.CaptureError, match="has no frame 99"):
        pybridge.read(find("refused.pcapng")).packet(99)


@pytest.mark.tshark
def test_a_connection_that_does_not_exist_raises_an_error_with_its_number() -> None:
    with pytest.raises(KeyError, match="has no connection 7"):
        pybridge.read(find("refused.pcapng")).ladder(7)


def script(folder: Path, text: str) -> str:
    """Write a `tshark` with this content; return a PATH with nothing else."""
    folder.mkdir()
    path = folder / "tshark"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(folder)


def test_without_tshark_the_message_says_what_to_install(run: Run, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    said = sentence(run, "segments", find("refused.pcapng"), PATH=str(tmp_path / "nothing"))
    assert "tshark was not found: install Wireshark 4.0 or later" in said


def test_a_tshark_that_is_too_old_is_named_with_its_version(run: Run, tmp_path: Path) -> None:
    old = script(tmp_path / "old", "echo 'TShark (Wireshark) 3.6.2 (Git v3.6.2)'")
    assert "tshark 3.6.2 is too old: install Wireshark 4.0 or later." in sentence(
        run, "segments", find("refused.pcapng"), PATH=old
    )


@pytest.mark.tshark
def test_a_tshark_that_ignores_the_plugin_is_an_error_and_no_agreement(run: Run, tmp_path: Path) -> None:
    drop = (
        'for a; do shift; case "$a" in -X) ;; lua_script:*) ;; *) set -- "$@" "$a" ;; esac; done\n'
        f'exec {shutil.which("tshark")} "$@"'
    )
    deaf = script(tmp_path / "deaf", drop) + os.pathsep + os.environ["PATH"]
    for name in ("refused", "no-tcp"):
        assert "tshark did not load the plugin" in sentence(
            run, "segments", find(f"{name}.pcapng"), "--engine", "plugin", PATH=deaf
        )
    done = run("verify", find("refused.pcapng"), PATH=deaf)
    assert (done.returncode, done.stdout) == (2, "0 agree, 0 differ, 1 could not be read.\n")


DISSECTOR = 'p = Proto("tcp_handshake", "x") function p.dissector(_, _, tree) {} end register_postdissector(p, true)'


@pytest.mark.tshark
@pytest.mark.parametrize(
    "lua",
    [
        "this is no Lua",
        "error('broken on purpose')",
        DISSECTOR.format('error("broken on purpose")'),
        DISSECTOR.format("tree:add(p)"),
    ],
    ids=["does not parse", "fails when loaded", "fails on a packet", "says nothing"],
)
def test_a_plugin_that_fails_raises_a_plugin_error(tmp_path: Path, lua: str) -> None:
    broken = tmp_path / "broken.lua"
    broken.write_text(lua)
    with pytest.raises(pybridge.PluginError):
        pybridge.read(find("refused.pcapng"), PluginEngine(broken))


@pytest.mark.tshark
def test_a_stale_plugin_in_the_personal_folder_changes_nothing(run: Run, tmp_path: Path) -> None:
    installed = Path(run("plugin", "install").stdout.splitlines()[0])
    installed.write_text('local p = Proto("tcp_handshake", "stale")\nregister_postdissector(p)')
    done = run("verify", find("article-wget.pcapng"))
    assert (done.returncode, done.stdout) == (0, "1 agree, 0 differ, 0 could not be read.\n")


@pytest.mark.tshark
def test_a_config_ini_in_the_working_directory_is_ignored(run: Run, tmp_path: Path) -> None:
    (tmp_path / "config.ini").write_text("[someone else]\nkey = value\n")
    assert run("verify", find("refused.pcapng")).returncode == 0
    (tmp_path / "config.ini").write_text("no section at all")
    assert run("verify", find("refused.pcapng")).returncode == 0


@pytest.mark.parametrize("out", ["missing/x.csv", "folder"])
def test_an_output_that_cannot_be_written_is_reported_before_the_work_and_leaves_nothing(
    run: Run, tmp_path: Path, out: str
) -> None:
    (tmp_path / "folder").mkdir()
    before = sorted(tmp_path.rglob("*"))
    for command, name in (("segments", out), ("report", out.replace(".csv", ".html"))):
        assert f"{name} cannot be written" in sentence(run, command, find("refused.pcapng"), "-o", name)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.tshark
def test_a_full_disk_is_reported_in_one_sentence(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pybridge", "segments", str(find("refused.pcapng"))]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("pybridge: The output cannot be written (No space left on device): free some space")
    assert len(done.stderr.splitlines()) == 1


def long_capture(folder: Path) -> Path:
    path = folder / "long.pcapng"
    subprocess.run(["mergecap", "-a", "-F", "pcapng", "-w", str(path), *[str(find("article-ssh.pcapng"))] * 400], check=True)
    content = path.read_bytes()
    path.write_bytes(content * 60)  # concatenated pcapng files are a pcapng file
    return path


def children(path: Path) -> list[str]:
    """Return the commands of all tshark processes that read this capture."""
    commands = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            commands.append(entry.read_bytes().decode(errors="replace"))
    return [command for command in commands if command.partition("\0")[0].endswith("tshark") and str(path) in command]


@pytest.mark.tshark
@pytest.mark.parametrize("signalled", ["the process", "its group"])
def test_ctrl_c_leaves_no_tshark_and_no_file(tmp_path: Path, signalled: str) -> None:
    path = long_capture(tmp_path)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    command = [sys.executable, "-m", "pybridge", "segments", str(path), "-o", "out.csv"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"TMPDIR": str(scratch)},
        # A shell starts background jobs with Ctrl-C ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - one thread
    )
    deadline = time.monotonic() + 30
    while not children(path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert children(path)
    time.sleep(0.5)
    (os.kill if signalled == "the process" else os.killpg)(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (130, "pybridge: Interrupted.\n")
    assert children(path) == []
    assert list(scratch.iterdir()) == []
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["long.pcapng", "scratch"]
