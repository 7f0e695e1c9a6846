# SPDX-License-Identifier: GPL-2.0-or-later
"""The Lua plugin: where it is, and getting it into and out of the user's Wireshark."""

from __future__ import annotations

import filecmp
import os
from pathlib import Path

from pybridge import tshark
from pybridge.errors import OutputError, PluginError
from pybridge.files import writing

NAME = "tcp_handshake.lua"


def path() -> Path:
    """The plugin's file that came with the package.

    Raises
    ------
    PluginError
        The installation is broken.
    """
    here = Path(__file__).resolve().parent
    for candidate in (here / NAME, here.parent / "plugin" / NAME):  # a wheel, a checkout
        if candidate.is_file():
            return candidate
    raise PluginError(f"{NAME} is missing from the installation: install pybridge again.")


def installed() -> Path:
    """Where the plugin is, or would be, installed: Wireshark's personal folder of Lua plugins."""
    return tshark.personal_plugins() / NAME


def is_stale() -> bool:
    """Whether another version than the package's is installed."""
    target = installed()
    return target.is_file() and not filecmp.cmp(path(), target, shallow=False)


def install() -> Path:
    """Copy the plugin into Wireshark's personal folder of Lua plugins; returns where it is.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    target = installed()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{target.parent} cannot be made ({error.strerror}): check its permissions.") from None
    with writing(target) as temporary:
        temporary.write_bytes(path().read_bytes())
    return target


def uninstall() -> Path | None:
    """Remove the installed plugin; returns where it was, None if it was not installed.

    Raises
    ------
    OutputError
        It cannot be removed.
    """
    target = installed()
    try:
        os.remove(target)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OutputError(f"{target} cannot be removed ({error.strerror}): check its permissions.") from None
    return target
