"""The pages that people look at: one file each, whole in itself, the same bytes for the same record."""
