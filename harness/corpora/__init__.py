"""Text with provenance: the allow-listed data sets, the door to them, and the ledger of what was read."""
