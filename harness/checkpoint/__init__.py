"""Checkpoints on disk: what they are, their digests, and a safetensors reader and writer that never import torch."""
