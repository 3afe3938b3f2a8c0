# SPDX-License-Identifier: Apache-2.0
"""Where things are in this checkout."""

import pathlib

TESTS = pathlib.Path(__file__).resolve().parents[1]
CASES = TESTS / 'cases'
CHECKOUT = TESTS.parent
LIB = CHECKOUT / 'lib'
