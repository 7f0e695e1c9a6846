# SPDX-License-Identifier: GPL-2.0-or-later
"""The specification as code: segments in, annotations and connections out.

Pure: no input or output, no clock, no tshark, no pandas. This package imports only the standard library.
"""
