# SPDX-License-Identifier: GPL-2.0-or-later
"""The languages of ladders and reports. Flags, states, roles and anomalies are names, and the same in all languages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from pybridge.report.chinese import PHRASES

Language = Literal["en", "zh"]
Translate = Callable[[str], str]
LANGUAGES: tuple[Language, ...] = ("en", "zh")
TAGS: dict[Language, str] = {"en": "en", "zh": "zh-Hans"}
"""The language tags of HTML and SVG (BCP 47). `Hans` matters: the same characters look different in Japanese."""


def translator(language: Language) -> Translate:
    """Return a function that translates English phrases; values are filled in afterwards, by `str.format`.

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
