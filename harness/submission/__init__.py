"""The record of a submission: what was claimed, in a folder that a stranger can audit. Judging it is ``validation``."""
