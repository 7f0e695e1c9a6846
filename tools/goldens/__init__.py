# SPDX-License-Identifier: GPL-2.0-or-later
"""Golden captures: how they are written down, built, and what is expected of them."""
