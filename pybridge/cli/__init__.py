# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line."""

from pybridge.cli.commands import main

__all__ = ["main"]
