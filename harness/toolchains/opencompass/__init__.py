"""OpenCompass: its pins, the lock of everything they resolve to, and the worker that runs inside the environment."""

from __future__ import annotations
