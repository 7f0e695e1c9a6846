# SPDX-License-Identifier: GPL-2.0-or-later
"""Progress on standard error, or as a widget in Jupyter, of work that takes longer than a second."""

from __future__ import annotations

import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from pybridge.text import printable

if TYPE_CHECKING:
    from tqdm import tqdm

DELAY = 1.0
"""Seconds before anything is shown."""


_bars: list[tqdm[NoReturn]] = []  # those of work that goes on


@contextmanager
def paused() -> Iterator[None]:
    """Take the bars away while something else is printed."""
    seen = [bar for bar in _bars if bar.last_print_t > bar.start_t]
    for bar in seen:
        bar.clear()
    yield
    for bar in seen:
        bar.refresh()


def is_shown(wanted: bool | None = None) -> bool:
    """Return whether to show progress: as wanted, else on a terminal and in Jupyter."""
    return (sys.stderr.isatty() or "ipykernel" in sys.modules) if wanted is None else wanted


@contextmanager
def counting(
    label: str, unit: str = "", *, total: int | None = None, shown: bool | None = None
) -> Iterator[Callable[[int], None]]:
    """Show how many units of work are done, or without a unit only for how long it lasts.

    Parameters
    ----------
    label : str
        What is worked on, or what is done.
    unit : str
        For example ``segments``.
    total : int, optional
        How many units there are.
    shown : bool, optional
        As of `is_shown`.

    Yields
    ------
    callable
        To be called with the number of further units.
    """
    if not is_shown(shown):
        yield lambda _: None
        return
    with warnings.catch_warnings():
        from tqdm import TqdmWarning

        warnings.simplefilter("ignore", TqdmWarning)  # in Jupyter without ipywidgets, where tqdm draws with characters
        from tqdm.auto import tqdm
    form = {} if unit else {"bar_format": "{desc} ({elapsed})"}
    with tqdm(desc=printable(label), unit=f" {unit}", unit_scale=not total, total=total, delay=DELAY, leave=False, **form) as bar:
        ended = threading.Event()
        _bars.append(bar)

        def beat() -> None:
            """Show the bar also while nothing is counted."""
            while not ended.wait(DELAY):
                bar.refresh()
                # Else tqdm would not remove a bar that was never updated; the next count must show, however soon it comes.
                bar.last_print_t = max(time.time() - bar.mininterval, bar.start_t + bar.delay)

        beats = threading.Thread(target=beat, name="pybridge-progress", daemon=True)
        if sys.stderr.isatty():
            beats.start()
        try:
            yield bar.update
        finally:
            _bars.remove(bar)
            ended.set()
            if beats.is_alive():
                beats.join()
