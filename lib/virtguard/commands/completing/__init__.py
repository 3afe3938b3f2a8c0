# SPDX-License-Identifier: Apache-2.0
"""What a shell offers when TAB is pressed."""
