# SPDX-License-Identifier: GPL-2.0-or-later
"""The Linux kernel's TCP talking to itself, captured beside its own socket states."""
