"""The face of the harness: everything a plugin needs, and nothing that imports torch."""

from __future__ import annotations

__version__ = "0.1.0"
