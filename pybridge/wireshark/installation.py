# SPDX-License-Identifier: GPL-2.0-or-later
"""Find Wireshark's programs, their version and their folders, as the user's tshark names them."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from packaging.version import Version
from pyshark.tshark import tshark as pyshark_tshark

from pybridge.errors import TSharkError
from pybridge.wireshark import version_cache

MINIMUM_VERSION = Version("4.0.0")

_config_lock = threading.RLock()


def find_program(program: str = "tshark") -> str:
    """Return the path of tshark, or of another program that comes with it.

    Raises
    ------
    TSharkError
        It is not installed.
    """
    try:
        with _no_config():
            return str(pyshark_tshark.get_process_path(process_name=program))
    except pyshark_tshark.TSharkNotFoundException:
        raise TSharkError(
            f"{program} was not found: install Wireshark 4.0 or later "
            "(apt install tshark, dnf install wireshark-cli, brew install wireshark) and put it on the PATH."
        ) from None


@contextlib.contextmanager
def _no_config() -> Iterator[None]:
    """Keep pyshark from reading a `config.ini` in the working directory, which belongs to some other program."""
    with _config_lock:
        get_config = pyshark_tshark.get_config
        pyshark_tshark.get_config = lambda: None
        try:
            yield
        finally:
            pyshark_tshark.get_config = get_config


def tshark_version() -> Version:
    """Return the version of tshark.

    Raises
    ------
    TSharkError
        tshark is missing, does not run, or is older than 4.0.
    """
    return _version(find_program())


@functools.cache
def _version(path: str) -> Version:
    return Version(version_cache.remembered(path, _asked_version))


def _asked_version(path: str) -> str:
    try:
        with _no_config():
            found = pyshark_tshark.get_tshark_version(path)
    except OSError as error:
        raise TSharkError(f"{path} does not run ({error.strerror}): install Wireshark 4.0 or later again.") from None
    except subprocess.CalledProcessError as error:
        reason = f"exit status {error.returncode}"
        raise TSharkError(f"{path} does not run ({reason}): install Wireshark 4.0 or later again.") from None
    except (ValueError, IndexError, pyshark_tshark.TSharkVersionException):
        raise TSharkError(f"{path} does not tell its version: install Wireshark 4.0 or later again.") from None
    if found < MINIMUM_VERSION:
        raise TSharkError(f"tshark {found} is too old: install Wireshark 4.0 or later.")
    return str(found)


def personal_plugins() -> Path:
    """Return Wireshark's personal folder of Lua plugins."""
    return _plugin_folder("Personal")


def global_plugins() -> Path:
    """Return the folder of Lua plugins of all users."""
    return _plugin_folder("Global")


def plugin_folders() -> list[Path]:
    """Return the folders in which tshark looks for Lua plugins."""
    return [folder for folder in (personal_plugins(), global_plugins()) if folder.is_dir()]


def personal_configuration() -> Path:
    """Return Wireshark's personal folder of preferences and profiles."""
    folder = _folder("Personal configuration")
    if folder:
        return folder
    raise TSharkError("tshark names no folder for personal configuration: install Wireshark 4.0 or later again.")


def _plugin_folder(whose: str) -> Path:
    folder = _folder(f"{whose} Lua Plugins", f"{whose} Plugins")
    if folder:
        return folder
    raise TSharkError(f"tshark names no folder for {whose.lower()} Lua plugins: install a Wireshark with Lua support.")


def _folder(*labels: str) -> Path | None:
    """Return the first of these folders that `tshark -G folders` lists."""
    rows = (line.partition(":") for line in _glossary("folders")[0])
    folders = {name.strip(): folder.strip() for name, _, folder in rows}
    return next((Path(folders[label]) for label in labels if folders.get(label)), None)


def _glossary(name: str) -> tuple[list[str], list[str]]:
    """Run `tshark -G NAME` as the user would; return the lines of its output and of its complaints."""
    tshark_version()
    ended = subprocess.run([find_program(), "-G", name], capture_output=True, check=False)
    return os.fsdecode(ended.stdout).splitlines(), os.fsdecode(ended.stderr).splitlines()


def lua_scripts() -> tuple[dict[Path, str], list[str]]:
    """Return the Lua plugins that the user's tshark loads, with their versions, and why it did not load others."""
    lines, complaints = _glossary("plugins")
    rows = ([cell.strip() for cell in line.split("\t")] for line in lines)
    # Wireshark 4.6 writes it with a capital.
    scripts = {Path(row[3]): row[1] for row in rows if len(row) > 3 and row[2].lower() == "lua script"}
    return scripts, list(lua_errors(complaints))


def lua_errors(lines: Sequence[str]) -> Iterator[str]:
    """Yield the reasons for which tshark could not load Lua scripts, from what it wrote to standard error."""
    for index, line in enumerate(lines):
        found = re.match(r"(?:tshark: )?Lua: (.*)", line)
        if found:
            yield " ".join(lines[index + 1 : index + 2] if found[1].startswith("Error during loading") else [found[1]])
