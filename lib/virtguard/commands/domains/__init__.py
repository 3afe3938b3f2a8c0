# SPDX-License-Identifier: Apache-2.0
"""Which domains a command is about, and judging many of them."""
