# SPDX-License-Identifier: GPL-2.0-or-later
"""Both state machines against the annotations that the listings expect, which are written by hand."""

from __future__ import annotations

from typing import Any

import pytest
from lupa import lua52, lua53, lua54

from tests.support.listings import CHECKED, LISTINGS, expectations
from tests.support.machines import ON_ROWS, LuaMachine, PythonMachine


@pytest.mark.parametrize("make", [PythonMachine, lua52, lua53, lua54], ids=["Python", "Lua 5.2", "Lua 5.3", "Lua 5.4"])
@pytest.mark.parametrize("name", LISTINGS)
def test_the_state_machine_says_what_the_listing_expects(name: str, make: Any) -> None:
    golden = LISTINGS[name]
    machine = PythonMachine() if make is PythonMachine else LuaMachine(make)
    for event, expected in expectations(golden):
        said = machine.take(event)
        assert said is not None
        assert {"frame": event.frame} | {column: said[column] for column in CHECKED} == {"frame": event.frame} | expected
    told = machine.told()
    for stream, expected_row in golden.connections.items():
        wanted = {column: None if text == "-" else text for column, text in expected_row.items() if column in ON_ROWS}
        found = told[stream]
        assert {column: None if found[column] is None else str(found[column]) for column in wanted} == wanted
