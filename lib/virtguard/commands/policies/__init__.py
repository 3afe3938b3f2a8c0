# SPDX-License-Identifier: Apache-2.0
"""The sub-commands that are about the policy: looking at it, comparing, and changing it."""
