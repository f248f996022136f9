"""The offline stand-in for the hub metric of this name."""

from __future__ import annotations
