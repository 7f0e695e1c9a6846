# SPDX-License-Identifier: GPL-2.0-or-later
"""The sequence diagram of a connection: `story` takes it from the tables, `missing` adds steps that were not captured.

`labels` writes the texts and `svg` draws. Like the rest of `report`, this package may import `tcp`, `tables` and `text`.
"""
