# SPDX-License-Identifier: Apache-2.0
"""Whether the guard is in force on this host, and what stands in its way. Reads only."""
