# SPDX-License-Identifier: Apache-2.0
"""What can be known of a rule's match without a document."""
