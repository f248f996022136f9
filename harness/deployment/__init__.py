"""Packages: a final checkpoint made ready for a runtime, by the harness, where a plugin has no packaging of its own.

    transformers_package.py   the checkpoint's own files and a manifest: what every other package is compared with
    check.py                  does a package, in a fresh process, compute what the checkpoint computes?

Packages for the runtimes of phones (ExecuTorch, MLC) are not here yet.
"""
