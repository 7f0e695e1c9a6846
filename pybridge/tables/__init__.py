# SPDX-License-Identifier: GPL-2.0-or-later
"""Record batches and DataFrames."""
