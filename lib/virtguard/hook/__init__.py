# SPDX-License-Identifier: Apache-2.0
"""libvirt's qemu hook."""

from .call import main as main
