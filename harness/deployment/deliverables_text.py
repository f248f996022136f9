"""The texts of the deliverables: pure functions of what is known."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from harness.deployment.mlc.conversation import template_names
from harness.deployment.mlc.driver import MLC_PLAIN, UNREGISTERED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.checkpoint.checkpoint import CheckpointFile
    from harness.deployment.manifest import PackagedFile

MLC_APP_FOLDER: Final = "/storage/emulated/0/Android/data/ai.mlc.mlcchat/files"
"""Where MLC's app looks for models."""
BASE_CLASS: Final = "HuggingFaceBaseModel"
CHAT_CLASS: Final = "HuggingFacewithChatTemplate"


def saved_model_text(name: str, digest: str, files: Sequence[CheckpointFile]) -> str:
    """``Saved_Model.txt``: the checkpoint by its digest, file by file."""
    lines = [f"{file.sha256}  {file.size_bytes:>14}  {file.name}" for file in files]
    return "\n".join(
        [
            f"Checkpoint of {name}, in Hugging Face's format.",
            "Link: (put the address that the folder was uploaded to here)",
            f"Digest (SHA-256 over names, sizes and SHA-256 of the files): {digest}",
            "",
            *lines,
            "",
        ]
    )


def compile_model_text(name: str, target: str, digest: str, files: Sequence[PackagedFile]) -> str:
    """``Compile_Model.txt``: the package by its digest, file by file."""
    lines = [f"{file.sha256}  {file.size_bytes:>14}  package/{file.name}" for file in files]
    return "\n".join(
        [
            f"Package of {name} for {target}; its files are in package/.",
            "Link: (put the address of the uploaded folder and of the APK here)",
            f"Digest (SHA-256 over names, sizes and SHA-256 of the files): {digest}",
            "",
            *lines,
            "",
        ]
    )


def bundle_script(name: str, app_folder: str) -> str:
    """``bundle_weight.sh`` for the model ``name``; an empty ``app_folder`` leaves it where adb can write."""
    return _file("bundle_weight.sh.in").replace("@NAME@", name).replace("@APP_FOLDER@", app_folder)


def opencompass_configuration() -> str:
    """``Configuration_Opencompass.py``: the six tasks."""
    return _file("Configuration_Opencompass.py.in")


def opencompass_model(name: str, *, remote: bool, chat: bool) -> str:
    """``Model_Opencompass.py``.

    Args:
        name: of the model and of the folder that it is loaded from.
        remote: whether the checkpoint brings a modeling file of its own.
        chat: whether its tokenizer has a chat template.
    """
    loaded = "its own modeling file, so remote code" if remote else "a stock class of transformers, no remote code"
    form = "in turns, by its chat template" if chat else "as plain text"
    return (
        _file("Model_Opencompass.py.in")
        .replace("@DESCRIPTION@", f"{loaded}; asked {form}")
        .replace("@CLASS@", CHAT_CLASS if chat else BASE_CLASS)
        .replace("@NAME@", name)
        .replace("@REMOTE@", str(remote))
    )


def conversion_script(name: str, target: str, manifest: Mapping[str, Any]) -> str:
    """``Source-Code/convert.sh``: the commands that make the package of the checkpoint."""
    head = ["#!/bin/sh", f"# Makes the {target} package of {name}:  sh convert.sh CHECKPOINT OUT", "set -eu", ""]
    if target != "mlc":
        return "\n".join([*head, f'harness deploy "$1" --target {target} --out "$2"', ""])
    return "\n".join([*head, *_mlc_commands(manifest), ""])


def _mlc_commands(manifest: Mapping[str, Any]) -> list[str]:
    """The harness's own way, and mlc_llm's, as comments: which of the two was gone stands in the manifest."""
    definition = manifest.get("definition")
    tool = f'python "$(dirname -- "$0")/{definition}"' if definition else "mlc_llm"
    structure = definition or f"the {manifest['mlc_model_type']} that mlc_llm brings"
    template = str(manifest["conversation"])
    known = template in template_names() and template not in UNREGISTERED
    common = f"--quantization {manifest['quantization']} --model-type {manifest['mlc_model_type']}"
    sizes = (
        f"--context-window-size {manifest['context_tokens']} --prefill-chunk-size {manifest['prefill_chunk_tokens']} "
        f"--max-batch-size {manifest['max_batch_size']}"
    )
    dtype = {"q0f16": "float16", "q0f32": "float32"}[manifest["quantization"]]
    return [
        f'harness deploy "$1" --target mlc --out "$2" --dtype {dtype} --context {manifest["context_tokens"]} \\',
        f"    --prefill-chunk {manifest['prefill_chunk_tokens']} --weight-layout {manifest['weight_layout']}",
        "",
        f"# State of this package: {manifest['state']}.",
        f"# Network structure: {structure}.",
        "# With MLC's own toolchain (rotation in config.json must stand in the fields of transformers 4):",
        f'# {tool} gen_config "$1" {common} --conv-template {template if known else MLC_PLAIN} {sizes} -o "$2"',
        f'# {tool} convert_weight "$1" {common} -o "$2"',
        f'# {tool} compile "$2/mlc-chat-config.json" --device android -o "$2/model-android.tar"',
    ]


def error_text(name: str, target: str, model_type: str, checks: Sequence[str], *, apk: bool) -> str:
    """``error.txt``: why there is no picture of the app running, and what was checked instead."""
    reasons = [
        "No phone was attached to the machine that made this folder.",
        *([] if apk else ["No app was built: that needs Android's SDK and NDK, and MLC's sources for MLC's app."]),
    ]
    return "\n".join(
        [
            f"{name} ({model_type}), package for {target}: not run on a phone.",
            "",
            *reasons,
            "",
            "What was checked where it was made:",
            *(f"  {check}" for check in checks),
            "",
            "To run it: sh bundle_weight.sh APK, start the app, and put its picture in the place of this file.",
            "",
        ]
    )


def readme(name: str, target: str, items: Sequence[tuple[str, Sequence[str], str | None]]) -> str:
    """``README.md``: item, file, or why it is missing."""
    other = [] if target == "mlc" else [f"The rules ask for a package for MLC; this one is for {target}.", ""]
    rows = [f"| {item} | {', '.join(files) or '-'} | {missing or 'there'} |" for item, files, missing in items]
    return "\n".join(
        [
            f"# {name}",
            "",
            "What the competition asks of a final submission, and where it stands here.",
            "",
            *other,
            "| item | file | state |",
            "|---|---|---|",
            *rows,
            "",
            "Weights are referenced by digest; the links in the two text files are for whoever uploads them.",
            "",
        ]
    )


def _file(name: str) -> str:
    return (resources.files("harness.deployment") / "deliverables_files" / name).read_text(encoding="utf-8")
