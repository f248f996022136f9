"""Official measurement: in a fresh process, from the files on disk, never in a plugin's code.

measure.py   the host's side: asks, contains, reads the answer            (no torch)
results.py   what comes back                                              (no torch)
worker.py    the fresh process:  bits_per_byte.py, performance.py         (torch)
"""
