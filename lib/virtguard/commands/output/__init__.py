# SPDX-License-Identifier: Apache-2.0
"""How verdicts are told: the formats of the output."""
