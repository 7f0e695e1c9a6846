# SPDX-License-Identifier: GPL-2.0-or-later
"""Record scenarios of the Linux kernel's TCP: two namespaces talk, and each capture comes with the kernel's socket states."""
