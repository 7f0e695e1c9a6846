# SPDX-License-Identifier: GPL-2.0-or-later
"""The files of the Lua plugin and its profile: find them, install them into the user's Wireshark, and remove them."""

from __future__ import annotations

import filecmp
import os
import shutil
import zipfile
from pathlib import Path

from pybridge.atomic_file import replacing
from pybridge.errors import OutputError, PluginError
from pybridge.wireshark import installation

NAME = "tcp_handshake.lua"
PROFILE = "TCP Handshake"


def path() -> Path:
    """Return the path of the plugin that came with the package.

    Raises
    ------
    PluginError
        The installation is broken.
    """
    package = Path(__file__).resolve().parent.parent
    for candidate in (package / NAME, package.parent / "plugin" / NAME):  # a wheel, a checkout
        if candidate.is_file():
            return candidate
    raise PluginError(f"{NAME} is missing from the installation: install pybridge again.")


def installed() -> Path:
    """Return where the plugin is, or would be, installed: in Wireshark's personal folder of Lua plugins."""
    return installation.personal_plugins() / NAME


def is_stale() -> bool:
    """Whether the installed plugin differs from the one that came with the package."""
    target = installed()
    return target.is_file() and not filecmp.cmp(path(), target, shallow=False)


def install() -> Path:
    """Copy the plugin into Wireshark's personal folder of Lua plugins; return its path.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    return _copy(path(), installed())


def check() -> str:
    """Check that the user's tshark loads the installed plugin and no other copy; return the version that it loads.

    Raises
    ------
    PluginError
        tshark does not load the plugin, or there is another copy.
    """
    target = installed()
    for folder in installation.plugin_folders():
        for other in folder.rglob("*.lua"):
            if other != target and b'Proto("tcp_handshake"' in other.read_bytes():
                raise PluginError(f"{other} is another copy of the plugin, and Wireshark loads only one: remove it.")
    scripts, complaints = installation.lua_scripts()
    if target in scripts:
        return scripts[target]
    reason = "as root, Wireshark 4.4 and later ignore personal plugins" if _is_root() else "its Lua is disabled"
    reason = next(iter(complaints), reason)
    raise PluginError(f"{target} is there, but tshark {installation.tshark_version()} does not load it: {reason}.")


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


def uninstall() -> list[Path]:
    """Remove the installed plugin and its profile; return the paths that were removed.

    Raises
    ------
    OutputError
        One of them cannot be removed.
    """
    removed = []
    for target in (installed(), installed_profile()):
        try:
            if target.is_dir():
                shutil.rmtree(target)
            elif target.is_file():
                target.unlink()
            else:
                continue
        except OSError as error:
            raise OutputError(f"{target} cannot be removed ({error.strerror}): check its permissions.") from None
        removed.append(target)
    return removed


def installed_profile() -> Path:
    """Return where the configuration profile is, or would be, installed."""
    return installation.personal_configuration() / "profiles" / PROFILE


def install_profile() -> Path:
    """Copy the profile to Wireshark's personal profiles; return its folder.

    An installed profile is left as it is, because Wireshark saves the user's changes in it.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    target = installed_profile()
    if not target.is_dir():
        for file in profile():
            _copy(file, target / file.name)
    return target


def profile() -> list[Path]:
    """Return the files of the configuration profile that came with the package: columns, colours, filter buttons."""
    return sorted((path().parent / "profile").iterdir())


def pack_profile(target: Path) -> None:
    """Write the profile as a zip file for Edit > Configuration Profiles > Import.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    with replacing(target) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in profile():
            archive.write(file, f"{PROFILE}/{file.name}")


def _copy(source: Path, target: Path) -> Path:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{target.parent} cannot be created ({error.strerror}): check its permissions.") from None
    with replacing(target) as temporary:
        temporary.write_bytes(source.read_bytes())
    return target
