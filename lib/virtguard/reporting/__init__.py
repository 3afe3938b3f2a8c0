# SPDX-License-Identifier: Apache-2.0
"""What the records of a period tell: of each host, whether the guard was on, and what it has found."""
