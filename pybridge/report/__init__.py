# SPDX-License-Identifier: GPL-2.0-or-later
"""What people read: the summary of a capture, its charts, the HTML page, and the ladders.

This package may import `tcp`, `tables` and `text`; it starts no program. All English sentences are here: those that explain the
values of the tables in `explanations`, the others where they are written. `chinese` translates them.
"""
