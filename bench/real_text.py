"""The recipes of nics on real text: what vocabulary pruning leaves of two languages, what a recipe does to the loss.

    python bench/real_text.py FOLDER --data c4=c4.jsonl.gz --data c4-zh=zh.jsonl --data alpaca=en.jsonl.gz \
           --data alpaca-zh=zh.jsonl.gz [--part vocabulary] [--part recipe]

``vocabulary`` trains a byte-level BPE of 32,000 tokens on the text, gives it a tiny random Llama, cuts it by the
plugin's step in several ways and runs texts that were neither trained nor counted on through it. ``recipe`` runs the
demo recipe with a short recovery on pico-llama, calibrated, counted and trained on the same text, and scores each step
on held-out text. All data sets have the schemas of C4 or Alpaca; every file is read through the data door.
"""

from __future__ import annotations

import argparse
import json
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from harness_nics import compress, train
from harness_nics.calibration import tokenizer_of
from harness_nics.options import NicsOptions
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from harness import CompressRequest, TrainRequest
from harness.checkpoint.checkpoint import Checkpoint
from harness.corpora.door import DataDoor, DoorSettings
from harness.methods import models as checkpoints
from harness.pico import catalogue
from harness.progress import silent
from harness.rules.edition import load_edition
from harness.surgery.count import parameter_count
from harness.testing.conducting import parse_recipe, shipped_recipes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TOKENS: Final = 32_000
SPECIAL: Final = ("<|begin|>", "<|end|>", "<|pad|>")
WORDS: Final = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How Qwen2 parts text before its merges."""
SCHEMAS: Final = {"c4": "c4", "c4-zh": "c4", "alpaca": "alpaca", "alpaca-zh": "alpaca"}
LANGUAGES: Final = {"English": ("c4", "alpaca"), "Chinese": ("c4-zh", "alpaca-zh")}
BOTH: Final = {"c4": 0.25, "c4-zh": 0.25, "alpaca": 0.25, "alpaca-zh": 0.25}
ENGLISH: Final = {"c4": 0.5, "alpaca": 0.5}
WAYS: Final[dict[str, dict[str, Any]]] = {
    "counted, both languages": {"mixture": BOTH},
    "counted, English alone": {"mixture": ENGLISH},
    "by id": {"compat": "id-rank"},
}
DROPPED: Final = (0.2, 0.4, 0.6)
TRAINED_ON, COUNTED, HELD_OUT = 4000, 8000, 300
MOST_CHARACTERS: Final = 2000
WINDOW: Final = 160
"""Tokens that pico-llama was trained on at once."""


def main() -> None:
    """Print figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", action="append", required=True, metavar="NAME=PATH")
    parser.add_argument("--part", action="append", choices=("vocabulary", "recipe"))
    parser.add_argument("--recovery-steps", type=int, default=40, help="Of 32 windows of 160 tokens.")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    settings = door_settings(dict(each.split("=", 1) for each in asked.data))
    asked.folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {}
    if "vocabulary" in (asked.part or ("vocabulary",)):
        found["vocabulary"] = vocabulary(settings, asked.folder)
    if "recipe" in (asked.part or ("recipe",)):
        found["recipe"] = recipe(settings, asked.folder, asked.recovery_steps)
    print(json.dumps(found, indent=1, ensure_ascii=False))


def door_settings(local: dict[str, str]) -> DoorSettings:
    """Two languages of each kind of text, whatever an edition allows: nothing here is filed."""
    rules = load_edition("demo").data
    by_schema = {rule.data_schema: rule for rule in rules.values()}
    return DoorSettings(rules={name: by_schema[schema] for name, schema in SCHEMAS.items()}, local=local)


def texts(settings: DoorSettings, name: str, count: int, split: str = "train") -> Iterator[str]:
    """The first texts of a split, cut where they are long."""
    for sample in islice(DataDoor(settings).open(name, split=split), count):
        yield sample.text[:MOST_CHARACTERS]


def vocabulary(settings: DoorSettings, folder: Path) -> dict[str, Any]:
    """A bilingual tokenizer cut in several ways: what comes back, and how many tokens a character takes."""
    base = folder / "bilingual"
    write_bilingual(settings, base)
    held_out = {
        language: [text for name in names for text in texts(settings, name, HELD_OUT, "validation")]
        for language, names in LANGUAGES.items()
    }
    found = {"whole": measured(base, held_out)}
    for way, fields in WAYS.items():
        for dropped in DROPPED:
            step = {"stage": "compress", "method": "vocabulary", "drop_fraction": dropped, "text_count": COUNTED}
            work = folder / f"{way}-{dropped}"
            made = run_step(settings, base, {**step, **fields}, work)
            found[f"{way}, {dropped:g} dropped"] = measured(made, held_out)
    return found


def measured(checkpoint: Path, held_out: Mapping[str, list[str]]) -> dict[str, Any]:
    """Rows, texts that do not come back, tokens of a character, and tokens that hold Chinese."""
    tokenizer = tokenizer_of(checkpoint)
    found: dict[str, Any] = {"tokens": len(tokenizer)}
    for language, lines in held_out.items():
        encoded = tokenizer(lines, add_special_tokens=False)["input_ids"]
        lost = sum(
            tokenizer.decode(ids, clean_up_tokenization_spaces=False) != line
            for ids, line in zip(encoded, lines, strict=True)
        )
        count = sum(map(len, encoded))
        per_character = round(count / sum(map(len, lines)), 4)
        found[language] = {"texts": len(lines), "not lossless": lost, "tokens per character": per_character}
    decoded = tokenizer.batch_decode([[token] for token in range(len(tokenizer))])
    found["tokens with Chinese"] = sum(any("\u4e00" <= each <= "\u9fff" for each in text) for text in decoded)
    return found


def write_bilingual(settings: DoorSettings, folder: Path) -> None:
    """A byte-level BPE trained on all four data sets, with a Llama of random weights beside it."""
    bare = Tokenizer(models.BPE())
    parts = [
        pre_tokenizers.Split(Regex(WORDS), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ]
    bare.pre_tokenizer, bare.decoder = pre_tokenizers.Sequence(parts), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=TOKENS, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    bare.train_from_iterator((text for name in SCHEMAS for text in texts(settings, name, TRAINED_ON)), trainer)
    bare.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bare, bos_token=SPECIAL[0], eos_token=SPECIAL[1], pad_token=SPECIAL[2]
    )
    tokenizer.chat_template = "{% for message in messages %}<|begin|>{{ message['content'] }}<|end|>{% endfor %}"
    tokenizer.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        architectures=["LlamaForCausalLM"],
    )
    checkpoints.save(LlamaForCausalLM(config), folder.with_name(f"{folder.name}-model"), like=folder)
    for file in folder.with_name(f"{folder.name}-model").iterdir():
        file.replace(folder / file.name)


def recipe(settings: DoorSettings, folder: Path, recovery_steps: int) -> list[dict[str, Any]]:
    """Held-out bits per byte of pico-llama before the demo recipe and after each of its steps."""
    path = next(path for path in shipped_recipes("nics") if path.name == "demo.toml")
    options = parse_recipe("nics", path)
    student = catalogue.path("pico-llama")
    found = [{"step": "base", **bits_per_byte(settings, student)}]
    for index, step in enumerate(options.steps):
        fields: dict[str, Any] = step.model_dump(exclude_none=True) | {"mixture": BOTH}
        if step.method == "fuse":
            del fields["mixture"]
        if step.stage == "train":
            fields["optimizer_steps"] = recovery_steps
        begun = time.process_time()
        student = run_step(settings, student, fields, folder / f"recipe-{index}")
        found.append(
            {"step": step.method, "cpu_s": round(time.process_time() - begun), **bits_per_byte(settings, student)}
        )
    return found


def run_step(settings: DoorSettings, student: Path, step: dict[str, Any], work: Path) -> Path:
    """The checkpoint after one step, by the plugin's own hook; the budget is half of pico-llama."""
    work.mkdir(exist_ok=True)
    options = NicsOptions.model_validate({"steps": [step]})
    base = Checkpoint.of(catalogue.path("pico-llama"))
    asked = CompressRequest(
        base=base,
        student=Checkpoint.of(student),
        options=options,
        step=options.steps[0],
        parameter_budget=parameter_count(base.config()) // 2,
        data=DataDoor(settings),
        workdir=work,
        device="cpu",
        seed=0,
        progress=silent,
    )
    if step["stage"] == "compress":
        return compress(asked).checkpoint
    fields = {name: getattr(asked, name) for name in asked.__dataclass_fields__}
    return train(TrainRequest(**fields)).checkpoint


@torch.no_grad()
def bits_per_byte(settings: DoorSettings, checkpoint: Path) -> dict[str, float]:
    """Of held-out texts, by language, each after the begin token and cut to one window."""
    model, tokenizer = checkpoints.load(checkpoint), tokenizer_of(checkpoint)
    found = {"parameters": sum(each.numel() for each in model.parameters())}
    for language, names in LANGUAGES.items():
        bits = length = 0.0
        for name in names:
            for text in texts(settings, name, HELD_OUT // 6, "validation"):
                ids = tokenizer.encode(text, add_special_tokens=False)[: WINDOW - 1]
                rows = torch.tensor([[tokenizer.bos_token_id, *ids]])
                logits = model(input_ids=rows, use_cache=False).logits[0, :-1]
                bits += (
                    float(torch.nn.functional.cross_entropy(logits, rows[0, 1:], reduction="sum")) / 0.6931471805599453
                )
                length += len(tokenizer.decode(ids).encode())
        found[language] = round(bits / length, 4)
    return found


if __name__ == "__main__":
    main()
