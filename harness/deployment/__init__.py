"""Packages: the final checkpoint made ready for a runtime. The edge runtimes come with a later issue."""
