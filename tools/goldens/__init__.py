# SPDX-License-Identifier: GPL-2.0-or-later
"""Golden captures: read their listings, build the capture files, and write the expected tables."""
