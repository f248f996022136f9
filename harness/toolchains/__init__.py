"""Engines with environments of their own: pins, provisioning, worker scripts.

catalogue.py          which toolchains there are, with their pins
provision.py          locate, install, ensure, remove, listing
environment.py        one environment on disk: its record, and what is wrong with it
interpreter.py        the Python that it is made from
making.py             uv, and pip where uv does not get there
pip_configuration.py  pip's own settings, told to uv
opencompass/          pins and the worker that runs inside
"""

from __future__ import annotations
