"""The sealed shelf: published algorithms, tensors in, tensors out; no plugin, no rule, no competition in sight."""
