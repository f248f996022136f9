"""Run code that a model wrote: walled in, watched, bounded, and never trusted to say that it passed.

    run.py (the harness) ── request.json ──> jail.py (a fresh interpreter, or another environment's)
                        <── answer.json ──      supervisor.py: hands out programs, counts output, gives the verdicts
                                                 └── cell.py: namespaces, a root of its own, no privileges
                                                      └── program.py: one fork a program, sealed, then run

Nothing here imports anything but the standard library: the folder runs as it is under any Python from 3.11 on, as
``python -I -S -B FOLDER/jail.py REQUEST.json ANSWER.json``. What holds, by what, and what does not: docs/sandbox.md.
"""

from __future__ import annotations
