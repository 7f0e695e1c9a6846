# SPDX-License-Identifier: GPL-2.0-or-later
"""The languages of the report and the ladder: the English sentence is the key to the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from pybridge.zh import PHRASES

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")


def translator(language: Language) -> Callable[[str], str]:
    """What gives back a phrase in this language; a template (`"{count} segments"`) is filled in afterwards.

    Raises
    ------
    ValueError
        The language is not known.
    """
    if language not in LANGUAGES:
        raise ValueError(f"language must be one of {', '.join(LANGUAGES)}, not {language!r}.")
    return PHRASES.__getitem__ if language == "zh" else str
