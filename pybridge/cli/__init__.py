# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line and what it prints: `commands` defines the options, `process` the exit status, the others what is shown.

This package may import every other; no other imports it. `pybridge.cli:main` is the entry point of the command `pybridge`.
"""

from pybridge.cli.commands import main

__all__ = ["main"]
