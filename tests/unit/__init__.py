# SPDX-License-Identifier: Apache-2.0
"""A file per module of the package, named for it. These directories are packages: some modules have the same name."""
