# SPDX-License-Identifier: GPL-2.0-or-later
"""What starts a Wireshark program."""
