"""Checkpoints whose shapes no stock class has: the modeling file that travels with them, and how we load them."""
