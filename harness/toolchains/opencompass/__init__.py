"""OpenCompass: its pins, and the worker that runs inside its environment and imports nothing of the harness."""
