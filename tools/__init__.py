# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs that developers run by hand: `python -m tools.NAME`, or a target of the Makefile."""
