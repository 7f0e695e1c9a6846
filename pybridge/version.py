# SPDX-License-Identifier: GPL-2.0-or-later
"""The version of the package, and of the plugin that comes with it."""

__version__ = "0.1.0"
