# SPDX-License-Identifier: GPL-2.0-or-later
"""What the lab needs of the machine."""

from __future__ import annotations

import os
import shutil
import sys

TOOLS = ("ip", "ss", "nft", "sysctl", "tcpdump")


def check_requirements(*others: str) -> None:
    """Exit with the reason if this is not root, or a program is missing."""
    if os.geteuid():
        sys.exit("Network namespaces need root: run this as root.")
    if missing := [tool for tool in (*TOOLS, *others) if not shutil.which(tool)]:
        sys.exit(f"{', '.join(missing)} not found: install iproute2, nftables, procps and tcpdump.")
