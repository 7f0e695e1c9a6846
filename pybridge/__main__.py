# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m pybridge`."""

from pybridge.cli import main

main()
