"""What was measured on one checkpoint, by the harness, in a fresh process, from the files on disk.

    Measurements ─┬─ bits_per_byte   held-out text             each names the digest of the weights that it loaded,
                  ├─ evaluation      the edition's tasks       so a speed measured on another model than the score
                  └─ performance     memory and speed          is a finding

Scores, speeds and sizes are claims: they are kept as they came, and ``harness.validation`` judges them.
"""

from __future__ import annotations

from pydantic import JsonValue, NonNegativeInt

from harness.document import Document
from harness.submission.file_record import Sha256


class BitsPerByte(Document):
    """Compression of held-out text: summed negative log-likelihood in bits over the UTF-8 bytes of the text."""

    data: str
    """Short name of the data set in the edition."""
    split: str
    value: float
    """Bits per byte, lower is better."""
    standard_error: float
    """Of ``value``, over the windows."""
    byte_count: NonNegativeInt
    token_count: NonNegativeInt
    window_count: NonNegativeInt
    window_tokens: NonNegativeInt
    checkpoint_digest: Sha256
    """Digest of the checkpoint that was loaded."""


class SubsetScore(Document):
    """One part of a task, e.g. one of BBH's subtasks."""

    name: str
    score: float
    item_count: NonNegativeInt


class TaskScore(Document):
    """One scored task."""

    task: str
    """Its name in the edition."""
    column: str
    """Its column in ``Results.csv``."""
    metric: str
    scale: float
    """The score of a perfect model: 100 for percent, 1 for a fraction."""
    score: float
    item_count: NonNegativeInt
    """Items that were scored."""
    standard_error: float | None = None
    """Of ``score``, over the items, in the unit of ``score``; none where the metric has no plain one."""
    subsets: tuple[SubsetScore, ...] = ()
    items_file: str | None = None
    """The file of the bundle with every item (lines of ``ItemRecord``), as ``layout.items_file`` names it."""


class Evaluation(Document):
    """The official tasks, run by one engine on one checkpoint."""

    engine: str
    engine_version: str
    suite: str
    """The suite of tasks and prompts: ``demo`` or ``official``."""
    model_class: str = "stock"
    """What generated within the engine: its own model class (``stock``) or the harness's faster one (``fast``)."""
    early_stop: bool = False
    """Whether generation ended where what follows cannot change the extracted answer."""
    item_limit: int | None = None
    """Items per task that the run was limited to; none means all, and only then scores can be ranked."""
    tasks: tuple[TaskScore, ...]
    checkpoint_digest: Sha256
    """Digest of the checkpoint that was loaded."""


class Performance(Document):
    """Memory and speed of inference, batch 1."""

    runtime: str
    """What ran the model, with its version, e.g. ``transformers 5.23.0``."""
    device: str
    dtype: str
    thread_count: NonNegativeInt
    prefill_tokens: NonNegativeInt
    decode_tokens: NonNegativeInt
    repeats: NonNegativeInt
    prefill_tokens_per_s: float
    decode_tokens_per_s: float
    time_to_first_token_s: float
    """From the call with the whole prompt to the first new token."""
    peak_memory_bytes: int
    memory_method: str
    """How the peak was read, e.g. ``VmHWM of the measuring process``."""
    decode_tokens_per_s_samples: tuple[float, ...] = ()
    """One per repeat, in order."""
    checkpoint_digest: Sha256
    """Digest of the checkpoint that was loaded."""


class Measurements(Document):
    """Everything that was measured on one checkpoint; what was not measured is absent, never zero."""

    bits_per_byte: BitsPerByte | None = None
    evaluation: Evaluation | None = None
    performance: Performance | None = None


class PluginMetric(Document):
    """A number of the plugin's own: shown, never ranked."""

    name: str
    """With the plugin's name before it: ``<plugin>.<metric>``."""
    value: float
    unit: str
    higher_is_better: bool


class ItemRecord(Document):
    """One item of a task: what the model said, what was read from it, and whether that was right: one line."""

    subset: str
    """The engine's name of the data set, e.g. ``bbh-navigate``."""
    index: NonNegativeInt
    """Row of the data set, from 0."""
    prediction: str | None
    """The model's text as it came; none where it was left out because the file would be too large."""
    extracted: JsonValue = None
    """What the task's own extractor read from it."""
    reference: JsonValue = None
    """The right answer, or what the prediction was compared with."""
    correct: bool | None
    """None where the metric leaves the item out."""
    prompt_tokens: NonNegativeInt | None = None
    generated_tokens: NonNegativeInt | None = None
    ended_by: str | None = None
    """Why generation ended: the end token, the limit, or a stop that cannot change what is extracted."""
