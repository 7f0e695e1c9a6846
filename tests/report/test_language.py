# SPDX-License-Identifier: GPL-2.0-or-later
"""English and Chinese: nothing is left untranslated, and nothing is translated in vain."""

from __future__ import annotations

import ast
import re
import string
from pathlib import Path

import pytest

import pybridge
from pybridge.report.chinese import PHRASES
from pybridge.report.language import LANGUAGES, TAGS, translator

PACKAGE = Path(pybridge.__file__).parent
SOURCES = [ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py") if path.name != "chinese.py"]
TEMPLATES = [path.read_text(encoding="utf-8") for path in (PACKAGE / "report" / "templates").glob("*.j2")]


def said() -> set[str]:
    """What is translated where it stands: `translate("...")` in code and templates."""
    calls = [node for tree in SOURCES for node in ast.walk(tree) if isinstance(node, ast.Call)]
    names = [(call, call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")) for call in calls]
    code = {
        call.args[0].value
        for call, name in names
        if name == "translate" and isinstance(call.args[0], ast.Constant) and isinstance(call.args[0].value, str)
    }
    return code | {phrase for text in TEMPLATES for phrase in re.findall(r'\bphrase\("([^"]+)"[,)]', text)}


def written() -> set[str]:
    """All texts in code and templates: some are translated elsewhere than where they stand. Nouns also in the plural."""
    nodes = (node for tree in SOURCES for node in ast.walk(tree) if isinstance(node, ast.Constant))
    texts = {node.value for node in nodes if isinstance(node.value, str)}
    texts |= {text for template in TEMPLATES for text in re.findall(r'"([^"]*)"', template)}
    return texts | {f"{text}s" for text in texts}


def placeholders(phrase: str) -> list[str]:
    return sorted(name for _, name, _, _ in string.Formatter().parse(phrase) if name is not None)


def test_every_phrase_has_a_translation() -> None:
    assert len(said()) > 30, "the search finds them"
    assert said() - set(PHRASES) == set()


def test_no_translation_is_unused() -> None:
    assert set(PHRASES) - written() - said() == set()


@pytest.mark.parametrize("phrase", PHRASES)
def test_a_translation_fills_in_the_same_values(phrase: str) -> None:
    assert placeholders(PHRASES[phrase]) == placeholders(phrase)


def test_english_is_what_is_written() -> None:
    assert translator("en")("{count} segments") == "{count} segments"


def test_what_has_no_translation_is_found_out() -> None:
    with pytest.raises(KeyError):
        translator("zh")("three-way hand shake")


def test_other_languages_are_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="language must be one of en, zh, not 'fr'"):
        translator("fr")  # type: ignore[arg-type]


def test_every_language_has_a_tag() -> None:
    assert set(TAGS) == set(LANGUAGES)
