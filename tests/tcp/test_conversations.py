# SPDX-License-Identifier: GPL-2.0-or-later
"""A failure on a random conversation is printed as a listing that can be saved in pcaps/."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings

from tests.support.conversations import THOROUGH, Conversation, as_listing, conversations, golden_of, golden_with
from tools.goldens import listing


@settings(THOROUGH, max_examples=THOROUGH.max_examples // 4)
@given(conversations)
def test_a_failure_is_printed_as_a_listing_of_the_same_events(conversation: Conversation) -> None:
    def bare(event: listing.Event) -> listing.Event:
        if isinstance(event, listing.NetworkError):
            event = replace(event, quoted=bare(event.quoted))
        return replace(event, line=0) if isinstance(event, listing.Other) else replace(event, line=0, expected=None)

    golden = golden_of([conversation])
    for some in (golden, golden_with(golden.events[::2])):
        read = listing.parse("printed", as_listing(some))
        assert list(map(bare, read.events)) == list(map(bare, some.events))
