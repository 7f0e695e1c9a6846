# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line as `python -m pybridge`."""

from pybridge.cli import main

main()
