# SPDX-License-Identifier: Apache-2.0
"""`virt-guard guests`: which systems really run in the guests."""
