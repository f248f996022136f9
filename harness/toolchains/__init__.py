"""Engines with environments of their own: pins, provisioning, and the workers that run inside them."""
