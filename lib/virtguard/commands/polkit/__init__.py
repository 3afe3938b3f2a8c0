# SPDX-License-Identifier: Apache-2.0
"""`virt-guard polkit ...`: what libvirt can deny by a permission, as rules of polkit."""
