# SPDX-License-Identifier: GPL-2.0-or-later
"""Compare `diagnosis` and `suspect` with 200 connections that an engineer judged by hand (`judged.tsv`)."""
