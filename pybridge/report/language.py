# SPDX-License-Identifier: GPL-2.0-or-later
"""The languages of ladders and reports; flags, states, roles and anomalies are names and the same in all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from pybridge.report.chinese import PHRASES

Language = Literal["en", "zh"]
Translate = Callable[[str], str]
LANGUAGES: tuple[Language, ...] = ("en", "zh")
TAGS: dict[Language, str] = {"en": "en", "zh": "zh-Hans"}
"""What HTML and SVG call them (BCP 47): Chinese characters look different in Japanese."""


def translator(language: Language) -> Translate:
    """A function from English phrases to those of the language; values are filled in afterwards, by `str.format`.

    Raises
    ------
    ValueError
        There is no such language.
    """
    if language == "en":
        return str
    if language == "zh":
        return PHRASES.__getitem__
    raise ValueError(f"language must be one of {', '.join(LANGUAGES)}, not {language!r}.")
