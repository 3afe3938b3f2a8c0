# SPDX-License-Identifier: Apache-2.0
"""`virt-guard watch`: what happens to running domains."""
