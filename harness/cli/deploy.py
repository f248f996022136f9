"""``harness deploy``: a package for the edge, held against the checkpoint before it counts."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from harness.cli import choices
from harness.cli.console import JsonFlag

BROKEN = 4
"""Exit code where a package is not one of the checkpoint."""


class TargetName(StrEnum):
    """Runtimes that a package can be for."""

    EXECUTORCH = "executorch"
    MLC = "mlc"
    TRANSFORMERS = "transformers"


class Dtype(StrEnum):
    """Of the packaged weights."""

    FLOAT16 = "float16"
    FLOAT32 = "float32"


class WeightLayoutName(StrEnum):
    """How MLC's matrices lie in memory."""

    PLAIN = "plain"
    TRANSPOSED = "transposed"


MlcOnly = "Target mlc: "


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(deploy)


def deploy(  # noqa: PLR0913, PLR0917 - the options of the command line
    model: Annotated[str, typer.Argument(help="A checkpoint's folder, a bundle, or a pico name (pico-llama).")],
    target: Annotated[TargetName, typer.Option(help="The runtime.")] = TargetName.EXECUTORCH,
    out: Annotated[Path | None, typer.Option(help="Folder of the package; packages/MODEL-TARGET if absent.")] = None,
    dtype: Annotated[Dtype, typer.Option(help="Of the weights; nothing is ever quantised.")] = Dtype.FLOAT16,
    context: Annotated[
        int | None,
        typer.Option(help="Positions of the KV cache, prompt and answer; the target's own if absent."),
    ] = None,
    prefill_chunk: Annotated[
        int | None,
        typer.Option(help="Prompt tokens read at a time: more are faster and take more memory."),
    ] = None,
    name: Annotated[str | None, typer.Option("--model", help="Of a bundle with several: which base model.")] = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="Folder of the checkpoints that a bundle references; the workspace's if absent."),
    ] = None,
    conversation: Annotated[
        str, typer.Option("--conv-template", help=f"{MlcOnly}conversation template, a .json file of one, or auto.")
    ] = "auto",
    weight_layout: Annotated[
        WeightLayoutName,
        typer.Option(help=f"{MlcOnly}transposed is (n/128, k, 128), for an mlc_llm with kernels for it."),
    ] = WeightLayoutName.PLAIN,
    max_batch_size: Annotated[int, typer.Option(help=f"{MlcOnly}users at the same time.")] = 1,
    check: Annotated[
        Path | None, typer.Option(help=f"{MlcOnly}write nothing, hold this package, whoever made it, against MODEL.")
    ] = None,
    mlc_python: Annotated[
        Path | None,
        typer.Option(help=f"{MlcOnly}python of mlc_llm's environment; runs the real one, too."),
    ] = None,
    mlc_llm: Annotated[
        bool, typer.Option("--mlc-llm", help=f"{MlcOnly}run the real mlc_llm on the search path, too.")
    ] = False,
    mlc_device: Annotated[str, typer.Option(help=f"{MlcOnly}what the real mlc_llm compiles for.")] = "android",
    mlc_source: Annotated[
        Path | None,
        typer.Option(help=f"{MlcOnly}sources of mlc-llm, for mlc_llm package; needs NDK and Rust."),
    ] = None,
    deliverables: Annotated[
        Path | None, typer.Option(help="Also make the folder of the competition's final submission.")
    ] = None,
    apk: Annotated[Path | None, typer.Option(help="The app, for the deliverables.")] = None,
    evidence: Annotated[Path | None, typer.Option(help="Picture or log of the app on a phone, likewise.")] = None,
    time_limit: choices.TimeLimit = choices.DEMO_TIME_LIMIT_S,
    memory_limit: choices.MemoryLimit = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Package a model for a runtime, check the package against the checkpoint, say what is needed next."""
    from harness.cli.deploying import Asked, answer, check_only

    asked = Asked(
        model=model,
        target=target.value,
        out=out,
        dtype=dtype.value,
        context=context,
        prefill_chunk=prefill_chunk,
        name=name,
        weights=weights,
        conversation=conversation,
        weight_layout=weight_layout.value,
        max_batch_size=max_batch_size,
        mlc_python=mlc_python,
        mlc_llm=mlc_llm or mlc_python is not None,
        mlc_device=mlc_device,
        mlc_source=mlc_source,
        deliverables=deliverables,
        apk=apk,
        evidence=evidence,
        time_limit_s=time_limit,
        memory_limit_gb=memory_limit,
    )
    if check is None:
        broken = answer(asked, quiet=quiet, as_json=as_json)
    else:
        broken = check_only(asked, check, quiet=quiet, as_json=as_json)
    if broken:
        raise typer.Exit(BROKEN)
