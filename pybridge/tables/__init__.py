# SPDX-License-Identifier: GPL-2.0-or-later
"""The tables: their schema, record batches, DataFrames, and files of them (Parquet, Arrow, CSV, JSON).

This package may import `tcp`, `wireshark` and `errors`. Only `frames` imports pandas.
"""
