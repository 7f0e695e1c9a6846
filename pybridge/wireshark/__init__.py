# SPDX-License-Identifier: GPL-2.0-or-later
"""All code that starts a Wireshark program or knows its output: tshark, dumpcap, mergecap, capinfos, and the Lua plugin's files.

This package may import `tcp`, `errors`, `atomic_file` and `text`.
"""
