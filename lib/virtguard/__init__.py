# SPDX-License-Identifier: Apache-2.0
"""virt-guard: an admission guard for libvirt domains."""

__version__ = '0.3.0'
