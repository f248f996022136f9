"""What runs inside the OpenCompass environment: reads a request, writes scores, imports nothing of the harness.

    request.json ──> __main__ ──> preparation (offline, private folders, data counted)
                                  suite       (which configurations, with their prompt hashes)
                                  scoring     (infer, then evaluate, per model and subset)  ──> result.json
                     channel: progress events on standard output, everything else on standard error

Started as ``python -P -s -m worker REQUEST`` with this package's parent on ``PYTHONPATH``.
"""

from __future__ import annotations
