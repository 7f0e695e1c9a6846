# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line: `commands` defines the options, `process` runs a command as a process, the other modules print results.

This package may import every other; no other imports it. `pybridge.cli:main` is the entry point of the command `pybridge`.
"""

from pybridge.cli.commands import main

__all__ = ["main"]
