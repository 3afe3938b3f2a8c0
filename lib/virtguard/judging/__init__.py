# SPDX-License-Identifier: Apache-2.0
"""Bytes of a domain, a Policy and facts of the host -> a Verdict."""
