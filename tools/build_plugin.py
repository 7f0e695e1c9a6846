# SPDX-License-Identifier: GPL-2.0-or-later
"""Build plugin/tcp_handshake.lua, the one file that users install, from its parts in plugin/src.

The built file begins with the comment of header.lua. Each part follows as a function of its own, in the order of `PARTS`,
and runs the first time that another part requires it. The last line requires the part `main`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pybridge.version import __version__

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "plugin" / "src"
PLUGIN = ROOT / "plugin" / "tcp_handshake.lua"
VERSION = '"@VERSION@"'

HEADER = "header"
PARTS = (
    "vocabulary",
    "state",
    "numbers",
    "notes",
    "connection_row",
    "diagnosis",
    "opening",
    "closing",
    "aborting",
    "judge",
    "annotations",
    "usual",
    "annotator",
    "wireshark.fields",
    "wireshark.sentences",
    "wireshark.experts",
    "wireshark.reader",
    "wireshark.tree",
    "wireshark.dissector",
    "wireshark.tools",
    "main",
)

NOTICE = "-- Built from plugin/src by `make plugin`: do not edit.\n--\n"
LOADER = """
-- Each part below is a function, and this local require calls it once. The tables are local to the file, unlike
-- package.preload and package.loaded, which all Lua scripts in Wireshark share: no other script can have a part of the
-- same name, a reload of the Lua plugins (Ctrl+Shift+L) runs the new parts, and the file loads alike wherever it is
-- loaded from: the plugin folder, -X lua_script, or a Lua without Wireshark.
local modules, loaded = {}, {}

--- Returns what a part of this file returns.
-- @param name of the part: "state" is plugin/src/state.lua, "wireshark.tree" is plugin/src/wireshark/tree.lua
local function require(name)
    if loaded[name] == nil then
        loaded[name] = modules[name]()
    end
    return loaded[name]
end
"""


def source(name: str) -> Path:
    """Return the path of a part."""
    return SOURCES.joinpath(*name.split(".")).with_suffix(".lua")


def build() -> str:
    """Return the text of the plugin."""
    pieces = [NOTICE, source(HEADER).read_text(encoding="utf-8"), LOADER]
    for name in PARTS:
        text = source(name).read_text(encoding="utf-8").replace(VERSION, f'"{__version__}"')
        title = f"-- ==== {source(name).relative_to(ROOT).as_posix()}"
        pieces.append(f'\n{title}\nmodules["{name}"] = function()\n\n{text}\nend\n')
    pieces.append('\nreturn require("main")\n')
    return "".join(pieces)


def is_stale() -> bool:
    """Return whether the committed plugin differs from what the parts build."""
    return not PLUGIN.exists() or PLUGIN.read_bytes() != build().encode()


def main(arguments: list[str] | None = None) -> int:
    """Write the plugin, or with --check only say whether it is stale; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.build_plugin", description="Build plugin/tcp_handshake.lua.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the built file is stale")
    if not parser.parse_args(arguments).check:
        PLUGIN.write_bytes(build().encode())
    elif is_stale():
        print("plugin/tcp_handshake.lua is not what plugin/src builds: run make plugin.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
