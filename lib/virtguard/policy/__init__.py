# SPDX-License-Identifier: Apache-2.0
"""Files of a policy -> a Policy, and its compiled form."""
