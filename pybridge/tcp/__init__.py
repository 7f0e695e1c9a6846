# SPDX-License-Identifier: GPL-2.0-or-later
"""The specification as code."""
