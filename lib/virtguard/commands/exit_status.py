# SPDX-License-Identifier: Apache-2.0
"""What the command's exit status says."""

ADMITTED = FINE = 0
DENIED = AMISS = 1
NOT_JUDGED = 2
INTERRUPTED = 130
