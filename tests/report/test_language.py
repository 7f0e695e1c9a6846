# SPDX-License-Identifier: GPL-2.0-or-later
"""English and Chinese: every phrase has a translation, and every translation is used."""

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
    """Return the phrases in `translate("...")` in code and templates."""
    calls = [node for tree in SOURCES for node in ast.walk(tree) if isinstance(node, ast.Call)]
    names = [(call, call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")) for call in calls]
    code = {
        call.args[0].value
        for call, name in names
        if name == "translate" and isinstance(call.args[0], ast.Constant) and isinstance(call.args[0].value, str)
    }
    return code | {phrase for text in TEMPLATES for phrase in re.findall(r'\bphrase\("([^"]+)"[,)]', text)}


def written() -> set[str]:
    """Return all texts in code and templates, for some are translated in another place; nouns also in the plural."""
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


def test_english_phrases_stay_as_they_are() -> None:
    assert translator("en")("{count} segments") == "{count} segments"


def test_a_phrase_without_translation_raises_an_error() -> None:
    with pytest.raises(KeyError):
        translator("zh")("three-way hand shake")


def test_an_unknown_language_is_refused_and_the_known_ones_are_named() -> None:
    with pytest.raises(ValueError, match="language must be one of en, zh, not 'fr'"):
        translator("fr")  # type: ignore[arg-type]


def test_every_language_has_a_tag() -> None:
    assert set(TAGS) == set(LANGUAGES)
