# SPDX-License-Identifier: GPL-2.0-or-later
"""What developers run by hand: `python -m tools.NAME`, or by a target of the Makefile."""
