# SPDX-License-Identifier: GPL-2.0-or-later
"""Draw which room of the package imports which, from the imports in the code: `python -m tools.architecture`.

A room is a package or a module directly in `pybridge/`. The picture and the table go into the marked block of
docs/architecture.md; with --check nothing is written, and the exit status is 1 if the block is stale.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "pybridge"
PAGE = ROOT / "docs" / "architecture.md"
BEGIN = "<!-- begin: written by python -m tools.architecture, do not edit -->"
END = "<!-- end -->"

SHARED = ("errors", "text", "atomic_file", "version")
"""Rooms that most others import: the table has them, the picture would only be harder to read."""

Rooms = Mapping[str, frozenset[str]]
"""The rooms that each room imports."""


class Import(NamedTuple):
    """One import: the module that contains it, the module that it names, and whether only type checkers run it."""

    importer: str
    imported: str
    for_types: bool


def modules() -> dict[str, Path]:
    """Return the path of each module of the package, by its dotted name."""
    names = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


def room_of(module: str) -> str:
    """Return the room of a module of the package; the package's own `__init__` is the room `pybridge`."""
    return module.split(".")[1] if "." in module else module


def imports() -> list[Import]:
    """Return every import of the package, also those inside functions and those by `import_module("name")`."""
    known = modules()
    return [
        Import(module, imported, for_types)
        for module, path in known.items()
        for node, for_types in _nodes(ast.parse(path.read_text(encoding="utf-8")))
        for imported in _imported(node, known)
    ]


def _nodes(tree: ast.AST, for_types: bool = False) -> Iterator[tuple[ast.AST, bool]]:
    """Yield all nodes below a tree, and whether `if TYPE_CHECKING` is around them."""
    for node in ast.iter_child_nodes(tree):
        types = for_types or (isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING")
        yield node, types
        yield from _nodes(node, types)


def _imported(node: ast.AST, known: Mapping[str, Path]) -> list[str]:
    """Return the modules that a node imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        full = [f"{node.module}.{alias.name}" for alias in node.names]
        return [name if name in known else node.module for name in full]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "import_module" and node.args:
        name = node.args[0]
        return [name.value] if isinstance(name, ast.Constant) and isinstance(name.value, str) else []
    return []


def rooms() -> Rooms:
    """Return which rooms each room imports."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for module in modules():
        found[room_of(module)] = set()
    for importer, imported, _ in imports():
        here, there = room_of(importer), room_of(imported)
        if imported.split(".")[0] == PACKAGE.name and here != there:
            found[here].add(there)
    return {room: frozenset(found[room]) for room in sorted(found)}


def reachable(graph: Rooms, room: str) -> frozenset[str]:
    """Return every room that a room imports, directly or through others."""
    seen: set[str] = set()
    open_rooms = list(graph[room])
    while open_rooms:
        there = open_rooms.pop()
        if there not in seen:
            seen.add(there)
            open_rooms += graph[there]
    return frozenset(seen)


def block() -> str:
    """Return the marked block: the picture, and the table of all imports."""
    graph = rooms()
    drawn = {room: graph[room] - {*SHARED} for room in graph if room not in SHARED}
    lines = [BEGIN, "", "```mermaid", "flowchart TD"]
    for room, others in drawn.items():
        implied = frozenset().union(*(reachable(drawn, other) for other in others))
        lines += [f"    {room} --> {other}" for other in sorted(others - implied)]
    lines += ["```", "", "| room | imports |", "|---|---|"]
    lines += [f"| `{room}` | {', '.join(f'`{other}`' for other in sorted(graph[room])) or 'nothing'} |" for room in graph]
    return "\n".join([*lines, "", END])


def updated(page: str) -> str:
    """Return the page with the current block."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + block() + after


def main(arguments: list[str] | None = None) -> int:
    """Write the block, or with --check only say whether it is stale; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.architecture", description="Draw which room imports which.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the block is stale")
    check = parser.parse_args(arguments).check
    page = PAGE.read_text(encoding="utf-8")
    new = updated(page)
    if check and new != page:
        print("docs/architecture.md does not show the imports of the code: run python -m tools.architecture.", file=sys.stderr)
        return 1
    if not check:
        PAGE.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
