# SPDX-License-Identifier: GPL-2.0-or-later
"""Values as text for people, the same on the terminal, on the page and in the ladder."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

MISSING = "\u2013"  # an en dash
MINUS = "\u2212"

# Control characters, surrogates, noncharacters, and characters that change the direction of text.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def printable(text: str) -> str:
    """Return the text with control characters as escapes, so that a capture cannot control a terminal or a page.

    The result can be encoded in UTF-8; once escaped for XML 1.0, it is legal there.
    """
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def amount(number: int, noun: str = "", translate: Callable[[str], str] = str) -> str:
    """Return, for example, ``1 packet`` or ``1,234 packets``; only the number without a noun."""
    return f"{number:,} {translate(noun if number == 1 else f'{noun}s')}" if noun else f"{number:,}"


def endpoint(address: str, port: int) -> str:
    """Return an address with its port, IPv6 in brackets: ``[2001:db8::1]:443``."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def one_of(field: str, numbers: Sequence[int]) -> str:
    """Return a display filter of Wireshark, with ranges: ``tcp.stream in {1..3, 7}``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    parts = [f"{run[0]}..{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs]
    return f"{field} in {{{', '.join(parts)}}}"


def duration_text(value: pd.Timedelta | None) -> str:
    """Return a duration with three significant digits and a fitting unit, or a dash if it is missing.

    For example ``12.3 µs``, ``812 µs``, ``1.20 s``, ``2 min 5 s``. Whole microseconds get no decimals below a
    millisecond (``32 µs``), because most captures are no more precise.
    """
    if value is None or value != value:  # noqa: PLR0124 - NaT
        return MISSING
    return nanoseconds_text(int(value.as_unit("ns").value))


def nanoseconds_text(nanoseconds: int) -> str:
    """Return a number of nanoseconds as `duration_text` does."""
    sign, size = (MINUS if nanoseconds < 0 else ""), abs(nanoseconds)
    if size >= 59_500_000_000:
        return sign + _long_duration(round(size / 1e9))
    if size < 1_000_000 and size % 1_000 == 0:
        return f"{sign}{size // 1_000} µs" if size else "0 s"
    for factor, unit in ((1e9, "s"), (1e6, "ms"), (1e3, "µs")):
        if size >= 0.9995 * factor:
            return f"{sign}{_three_digits(size / factor)} {unit}"
    return f"{sign}{size} ns"


def _three_digits(number: float) -> str:
    return f"{number:.{2 if number < 9.995 else 1 if number < 99.95 else 0}f}"


def _long_duration(seconds: int) -> str:
    hours, rest = divmod(seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    if hours >= 48:
        return f"{hours // 24:,} d {hours % 24} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"
