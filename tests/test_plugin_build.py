# SPDX-License-Identifier: GPL-2.0-or-later
"""The plugin is what its parts build, and the parts of its state machine use nothing of Wireshark."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from lupa import lua52, lua53, lua54

from pybridge.version import __version__
from tools import build_plugin

PURE = [name for name in build_plugin.PARTS if not name.startswith("wireshark.") and name != "main"]
REQUIRED = re.compile(r'require\("([^"]+)"\)')
COMMENT = re.compile(r"--.*")
LUAS = pytest.mark.parametrize("lua", [lua52, lua53, lua54], ids=["5.2", "5.3", "5.4"])


def test_the_committed_plugin_is_what_its_parts_build() -> None:
    assert not build_plugin.is_stale(), "plugin/tcp_handshake.lua is not what plugin/src builds: run make plugin"


def test_every_source_is_built() -> None:
    sources = {build_plugin.source(name) for name in (build_plugin.HEADER, *build_plugin.PARTS)}
    assert set(build_plugin.SOURCES.rglob("*.lua")) == sources


def test_a_stale_plugin_is_reported_and_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    built = tmp_path / "tcp_handshake.lua"
    monkeypatch.setattr(build_plugin, "PLUGIN", built)
    built.write_text("-- an old version")
    assert build_plugin.main(["--check"]) == 1
    assert capsys.readouterr().err == "plugin/tcp_handshake.lua is not what plugin/src builds: run make plugin.\n"
    assert build_plugin.main([]) == 0
    assert build_plugin.main(["--check"]) == 0
    assert built.read_text(encoding="utf-8") == build_plugin.build()


@pytest.fixture(scope="module")
def wireshark_names() -> set[str]:
    """Return the global names that Wireshark gives to the plugin, from luacheck's configuration."""
    runtime = lua54.LuaRuntime()
    runtime.execute("stds, files = {}, {}")
    runtime.execute((build_plugin.ROOT / ".luacheckrc").read_text(encoding="utf-8"))
    return set(runtime.globals().stds.wireshark.read_globals.values())


@pytest.mark.parametrize("name", PURE)
def test_a_part_of_the_state_machine_uses_nothing_of_wireshark(name: str, wireshark_names: set[str]) -> None:
    code = COMMENT.sub("", build_plugin.source(name).read_text(encoding="utf-8"))
    assert {"Proto", "Field", "Listener"} < wireshark_names
    assert wireshark_names & set(re.findall(r"\w+", code)) == set()
    assert set(REQUIRED.findall(code)) - set(PURE) == set()


@LUAS
def test_the_built_plugin_returns_its_state_machine_without_wireshark(lua: Any) -> None:
    machine = lua.LuaRuntime().execute(build_plugin.build())
    assert __version__ == machine.VERSION
    assert machine.new().connection is not None


@LUAS
def test_the_built_plugin_leaves_nothing_behind_for_other_scripts(lua: Any) -> None:
    runtime = lua.LuaRuntime()
    shared = [runtime.globals(), runtime.globals().package.loaded, runtime.globals().package.preload]
    before = [set(table) for table in shared]
    runtime.execute(build_plugin.build())
    assert [set(table) for table in shared] == before


@pytest.mark.parametrize("name", build_plugin.PARTS)
def test_an_error_in_the_built_plugin_leads_to_its_part(name: str) -> None:
    lines = build_plugin.build().splitlines()
    begins = lines.index(f"-- ==== {build_plugin.source(name).relative_to(build_plugin.ROOT).as_posix()}")
    first = build_plugin.source(name).read_text(encoding="utf-8").splitlines()[0]
    assert first in lines[begins : begins + 4]
