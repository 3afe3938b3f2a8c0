# SPDX-License-Identifier: Apache-2.0
"""Whether the guard holds on this host: what its daemons may execute and read."""
