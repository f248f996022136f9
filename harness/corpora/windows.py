"""Training windows: samples of several data sets, encoded, joined and cut into rows of equal length, on disk.

    door.reading("c4")     ─┐ draws by what each still owes     sample sample sample sam|ple sample ...
    door.reading("alpaca") ─┘ to its share of the tokens        |---- window 0 ----|---- window 1 ----|

    path/token_ids.bin   uint16 or uint32 [window_count, window_tokens], memory-mapped when read
    path/loss_mask.bin   uint8 of the same shape; only where the loss is on responses
    path/windows.json    what it was made from, and the ledger of what was read for it

Nothing but one batch of samples is ever in memory. The folder appears whole or not at all, and is made once: asked
again for the same windows, ``pack`` opens it and enters its ledger at the door. A data set shorter than its share is
read again from its first row, and the ledger shows each pass.
"""

from __future__ import annotations

import json
import os
import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import PositiveInt

from harness.corpora.curriculum import Curriculum
from harness.corpora.ledger import Ledger
from harness.corpora.mixture import Draws, check_caps, check_mixture
from harness.document import Document, digest_of, sync_folder
from harness.progress import silent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from pydantic import JsonValue
    from transformers import PreTrainedTokenizerBase

    from harness.corpora.door import DataDoor
    from harness.corpora.encoding import EncodedSample
    from harness.corpora.feeds import Named
    from harness.corpora.mixture import Stage
    from harness.progress import Progress

LossOn = Literal["all", "response"]
Dtype = Literal["uint16", "uint32"]


class WindowsRecord(Document):
    """``windows.json``: what a folder of windows holds."""

    key: str
    """Digest of everything that decides the bytes."""
    window_tokens: PositiveInt
    window_count: PositiveInt
    dtype: Dtype
    loss_on: LossOn
    ledger: Ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Packed windows, memory-mapped."""

    token_ids: NDArray[np.uint16] | NDArray[np.uint32]
    """``[window_count, window_tokens]``."""
    loss_mask: NDArray[np.uint8] | None
    """The same shape, 1 where the loss counts; None where it counts everywhere."""
    key: str
    """Digest of everything that decides the bytes."""

    def __len__(self) -> int:
        """How many windows there are."""
        return len(self.token_ids)


def pack(  # noqa: PLR0913 - the request of a library function, all but the first three by name
    door: DataDoor,
    mixture: Mapping[str, float] | Curriculum,
    tokenizer: PreTrainedTokenizerBase,
    *,
    window_tokens: int,
    window_count: int,
    seed: int,
    path: Path,
    progress: Progress = silent,
    loss_on: LossOn = "all",
    caps: Mapping[str, int] | None = None,
    named: Mapping[str, Named] | None = None,
) -> Windows:
    """Windows of the data sets of ``mixture``, in the folder ``path``, made there unless they stand already.

    Args:
        door: Where the samples come from and are accounted for, up to the last token that is used.
        mixture: Short name to weight; shares of the tokens are in proportion to the weights. Or one after the other.
        tokenizer: The student's.
        window_tokens: Tokens of a window.
        window_count: Number of windows.
        seed: Of the order in which the data sets take turns.
        path: Folder to write; best in a step's workdir.
        progress: Told the tokens packed so far.
        loss_on: ``all`` tokens (what the published recoveries do), or those of documents and responses alone.
        caps: Short name to the most passes over it; then the others take its share.
        named: Parts of data sets and derived samples, by the names that the mixture has for them.

    Raises:
        ValueError: an empty mixture, a weight or a size that is not positive, too large a share of derived samples.
        DataNotAllowed: from the door, or where caps leave too few tokens.
    """
    if window_tokens < 2 or window_count < 1:  # noqa: PLR2004 - a single token predicts nothing
        raise ValueError(f"windows must be at least 1 of at least 2 tokens, got {window_count} of {window_tokens}")
    stages = _stages(mixture, window_tokens * window_count)
    limits = check_caps(caps or {}, {name for _, mix in stages for name, _ in mix})
    key = _key(door, stages, tokenizer, [window_tokens, window_count, seed, loss_on], limits, named or {})
    standing = read_windows(path, key=key)
    if standing is not None:
        door.record(standing[1].ledger)
        return standing[0]
    shape = (window_count, window_tokens)
    draws = Draws(door, stages, tokenizer, seed=seed, caps=dict(limits), named=named)
    beside = path.with_name(f".{path.name}.partial")
    dtype: Dtype = "uint16" if len(tokenizer) <= 1 << 16 else "uint32"
    _write_tokens(beside, _reported(draws, shape, progress), dtype=dtype, masked=loss_on == "response")
    record = WindowsRecord(
        key=key,
        window_tokens=window_tokens,
        window_count=window_count,
        dtype=dtype,
        loss_on=loss_on,
        ledger=draws.ledger(),
    )
    record.write(beside / "windows.json")
    shutil.rmtree(path, ignore_errors=True)
    beside.rename(path)
    sync_folder(path.parent)
    door.record(draws.derived_ledger())
    return _open(path, record)


def read_windows(path: Path, *, key: str | None = None) -> tuple[Windows, WindowsRecord] | None:
    """The windows in ``path``; None where there are none, or others than those of ``key``."""
    if not (path / "windows.json").is_file():
        return None
    record = WindowsRecord.read(path / "windows.json")
    if key is not None and record.key != key:
        return None
    return _open(path, record), record


def _open(path: Path, record: WindowsRecord) -> Windows:
    shape = (record.window_count, record.window_tokens)
    masked = record.loss_on == "response"
    return Windows(
        token_ids=np.memmap(path / "token_ids.bin", dtype=record.dtype, mode="r", shape=shape),
        loss_mask=np.memmap(path / "loss_mask.bin", dtype=np.uint8, mode="r", shape=shape) if masked else None,
        key=record.key,
    )


def _stages(mixture: Mapping[str, float] | Curriculum, token_count: int) -> tuple[Stage, ...]:
    if isinstance(mixture, Curriculum):
        return mixture.stages(token_count)
    return ((token_count, check_mixture(mixture)),)


def _key(  # noqa: PLR0913, PLR0917 - everything that decides the bytes
    door: DataDoor,
    stages: Sequence[Stage],
    tokenizer: PreTrainedTokenizerBase,
    sizes: list[int | str],
    caps: tuple[tuple[str, int], ...],
    named: Mapping[str, Named],
) -> str:
    revisions = door.settings.revisions()

    def said(name: str, weight: float) -> JsonValue:
        part = named.get(name)
        data = name if part is None else part.data
        own: list[JsonValue] = [] if part is None else [data, part.key]
        return [name, weight, revisions[data], door.sieve_key(data), *own]

    data: list[JsonValue] = [[count, *(said(*pair) for pair in mixture)] for count, mixture in stages]
    backend = tokenizer.backend_tokenizer.to_str() if tokenizer.is_fast else type(tokenizer).__name__
    special: list[JsonValue] = [str(tokenizer.bos_token), str(tokenizer.eos_token), json.dumps(tokenizer.chat_template)]
    return digest_of([data, backend, special, [list(cap) for cap in caps], *sizes])


def _reported(draws: Draws, shape: tuple[int, int], progress: Progress) -> Iterator[EncodedSample]:
    done = 0
    for sample in draws:
        yield sample
        done += len(sample.token_ids)
        progress("packing", done // shape[1], shape[0])


def _write_tokens(folder: Path, samples: Iterable[EncodedSample], *, dtype: Dtype, masked: bool) -> None:
    """Append sample after sample; that rows are equally long is a matter of reading."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with ExitStack() as stack:
        ids_file = stack.enter_context((folder / "token_ids.bin").open("wb"))
        mask_file = stack.enter_context((folder / "loss_mask.bin").open("wb")) if masked else None
        for sample in samples:
            ids_file.write(np.asarray(sample.token_ids, dtype=dtype).tobytes())
            if mask_file is not None:
                answer_count = len(sample.token_ids) - sample.prompt_token_count
                mask_file.write(bytes(sample.prompt_token_count) + b"\1" * answer_count)
        for stream in (ids_file, mask_file):
            if stream is not None:
                stream.flush()
                os.fsync(stream.fileno())
