"""Packages: a final checkpoint made ready for a runtime, by the harness, where a plugin has no packaging of its own.

transformers_package.py   the checkpoint's own files and a manifest: what every other package is compared with
executorch/               a program with a static cache for ExecuTorch, PyTorch's runtime on devices
mlc/                      MLC's weight package, written without mlc_llm; a check of anybody's; mlc_llm where it is
check.py                  does a package, in a fresh process, compute what the checkpoint computes?
packaging.py              all of it, contained: what ``harness deploy`` asks for
deliverables.py           the folder that the competition's final submission asked for
"""
