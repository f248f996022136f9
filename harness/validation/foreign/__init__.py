"""Entries that this harness did not make: what kind they are, and readers that believe nothing of them."""
