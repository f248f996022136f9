"""Stand-ins for what ``evaluate.load`` would fetch from the hub; each is copied into the run's folder."""

from __future__ import annotations
