"""Numbers that the teams of the NeurIPS 2024 competition published, as figures that ``harness rank`` reads."""
