"""The checks, one file per family; each is a pure function from an entry and an edition to findings."""
