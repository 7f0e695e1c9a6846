# SPDX-License-Identifier: GPL-2.0-or-later
"""The documents: their links exist, their commands, options and snippets work, and a line of prose holds one sentence."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import duckdb
import pytest

from pybridge.cli.commands import cli
from tests.conftest import Run

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    path for folder in (".", "docs", "docs/howto", "pcaps", "pcaps/golden", "pcaps/real") for path in (ROOT / folder).glob("*.md")
) + sorted((ROOT / "pcaps" / "golden").glob("*/README.md"))
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
ABBREVIATIONS = re.compile(r"\b(?:e\.g|i\.e|etc|cf|vs|Fig)\.")
NEEDS_MORE = ("eth0", "ssh ", "FILE", "INTERFACE", " live -", "plugin install", "plugin uninstall", "completion fish >")
"""Parts of command lines that need an interface, another host, or the reader's own Wireshark."""


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def code_of(page: Path, *languages: str) -> list[str]:
    return [code for language, code in FENCE.findall(text_of(page)) if language in languages]


def prose_of(page: Path) -> Iterator[tuple[int, str]]:
    """The lines outside of code and tables, without names of rules, code, addresses of links, and what is in parentheses."""
    fenced = False
    for number, line in enumerate(text_of(page).splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced and not line.lstrip().startswith(("|", "<!--", "#")):
            plain = re.sub(r"\]\([^)]*\)", "]", re.sub(r"`[^`]*`", "`", line))
            plain = re.sub(r"^ *\*\*[^*]*\*\*", "", plain)
            yield number, re.sub(ABBREVIATIONS, "", re.sub(r"\([^()]*\)", "", plain))


def anchors_of(page: Path) -> set[str]:
    """The anchors that GitHub makes of the headings."""
    headings = re.findall(r"^#+ +(.+)$", re.sub(FENCE, "", text_of(page)), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def links_of(page: Path) -> list[str]:
    text = re.sub(r"`[^`\n]*`", "`", re.sub(FENCE, "", text_of(page)))
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not link.startswith(("https://", "http://"))]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_relative_link_and_picture_exists(page: Path) -> None:
    missing = []
    for link in links_of(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors_of(target)):
            missing.append(link)
    assert missing == []


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=name_of)
def test_every_make_target_exists(page: Path) -> None:
    named = set(re.findall(r"(?:^|`|[(;&] *)make ([a-z][a-z-]*)", text_of(page), re.MULTILINE))
    assert named - TARGETS == set()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_file_that_is_named_exists(page: Path) -> None:
    named = re.findall(r"`((?:pybridge|plugin|tests|tools|docs|pcaps)/[\w./-]+)`", text_of(page))
    assert [path for path in named if not (ROOT / path).exists() and not list(ROOT.glob(f"{path}.*"))] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_line_of_prose_holds_one_sentence(page: Path) -> None:
    found = [f"{number}: {line}" for number, line in prose_of(page) if re.search(r"[a-z0-9`\]*]{2}[.!?] +[A-Z]", line)]
    assert found == []


def commands(group: click.Group, before: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*before, name))
        else:
            yield (*before, name), command


COMMANDS = dict(commands(cli))
OPTIONS = {
    option
    for command in COMMANDS.values()
    for parameter in command.params
    for option in (*parameter.opts, *parameter.secondary_opts)
}
GUIDES = [ROOT / "README.md", ROOT / "docs" / "guide.md", ROOT / "docs" / "limits.md"]


def command_lines(page: Path) -> list[str]:
    """The command lines with `pybridge` in the code of a page, without comments."""
    lines = [line.partition("  #")[0].strip() for code in code_of(page, "sh") for line in code.splitlines()]
    return [line for line in lines if re.match(r"(.*\| )?pybridge ", line)]


@pytest.mark.parametrize("page", GUIDES, ids=name_of)
def test_every_option_exists(page: Path) -> None:
    in_prose = re.sub(FENCE, "", text_of(page))
    named = set(re.findall(r"`(--[a-z][a-z-]*)", in_prose))
    for line in command_lines(page):
        named |= set(re.findall(r"(?<!\S)--?[a-z][a-z-]*", line.rpartition("pybridge ")[2]))
    assert named - OPTIONS == set()


@pytest.mark.parametrize("page", GUIDES, ids=name_of)
def test_every_command_exists(page: Path) -> None:
    for line in [*command_lines(page), *re.findall(r"`(pybridge [a-z][^`]*)`", text_of(page))]:
        words = tuple(line.rpartition("pybridge ")[2].split())
        assert any(words[: len(name)] == name for name in COMMANDS) or words[0].endswith(".pcapng"), line


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ring")
    subprocess.run(["editcap", "-c", "5", ROOT / "pcaps" / "article-wget.pcapng", folder / "ring.pcapng"], check=True)
    return folder


@pytest.fixture
def place(tmp_path: Path, ring: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the documents speak of."""
    (tmp_path / "pcaps").symlink_to(ROOT / "pcaps")
    for name, golden in (("x", "article-wget"), ("y", "ipv6")):
        shutil.copy(ROOT / "pcaps" / f"{golden}.pcapng", tmp_path / f"{name}.pcapng")
    (tmp_path / "ring").symlink_to(ring)
    monkeypatch.chdir(tmp_path)
    return tmp_path


RUN = [(page, line) for page in GUIDES for line in command_lines(page) if not any(part in line for part in NEEDS_MORE)]


@pytest.mark.tshark
@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(("page", "line"), RUN, ids=[f"{page.name}: {line}" for page, line in RUN])
def test_every_command_line_runs(run: Run, page: Path, line: str) -> None:
    done = run(*shlex.split(line)[1:])
    assert done.returncode == 0, done.stderr


SNIPPETS = [ROOT / "README.md", ROOT / "docs" / "guide.md"]


@pytest.mark.tshark
@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("page", SNIPPETS, ids=name_of)
def test_the_snippets_run_one_after_the_other(page: Path) -> None:
    names: dict[str, object] = {}
    snippets = code_of(page, "python")
    assert snippets
    with contextlib.redirect_stdout(io.StringIO()):
        for snippet in snippets:
            exec(snippet, names)  # noqa: S102 - our own documents


@pytest.mark.tshark
@pytest.mark.usefixtures("place")
def test_the_readme_shows_what_its_first_snippet_prints() -> None:
    first, printed = code_of(ROOT / "README.md", "python")[0], io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(first, {})  # noqa: S102 - our own document
    said = [line.rstrip() for line in printed.getvalue().splitlines()]
    assert "\n".join(said) in text_of(ROOT / "README.md")


def test_the_readme_shows_the_filters_that_wireshark_knows() -> None:
    fields = (ROOT / "plugin" / "src" / "wireshark" / "fields.lua").read_text(encoding="utf-8")
    for page in SNIPPETS:
        for name in re.findall(r"tcp_handshake\.(?!lua)([a-z_]+)", text_of(page)):
            assert f'{{ "{name}"' in fields, name


@pytest.mark.tshark
def test_the_queries_of_duckdb_and_polars_run(run: Run, place: Path) -> None:
    page = ROOT / "docs" / "howto" / "query-parquet.md"
    for line in command_lines(page):
        assert run(*shlex.split(line)[1:]).returncode == 0
    found = [duckdb.sql(query).fetchall() for query in code_of(page, "sql")]
    assert found[0] == [("10.0.0.2", 80, "refused", 1)]
    assert found[1] == [("192.168.101.5", 1, 0.147, 0.147)]
    assert found[2] == [("connection-refused", 1)]
    assert found[3] == [("pcaps/refused.pcapng", 0, "10.0.0.2", 2, "RST, ACK")]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        for snippet in code_of(page, "py"):
            exec(snippet, {})  # noqa: S102 - our own document
    assert "refused" in printed.getvalue()
