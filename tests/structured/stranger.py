"""Load a folder as somebody who has transformers and has never heard of the harness; run with ``python -I``."""

from __future__ import annotations

import importlib.abc
import json
import sys
from pathlib import Path


class NoHarness(importlib.abc.MetaPathFinder):
    """Makes the harness as good as not installed."""

    def find_spec(self, fullname, *_):
        if fullname.partition(".")[0] == "harness":
            raise ModuleNotFoundError(f"{fullname} is not for strangers")


def main(folder, result):
    sys.meta_path.insert(0, NoHarness())
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers import __version__ as version

    try:
        import harness.structured  # noqa: F401 - must fail
    except ModuleNotFoundError:
        pass
    else:
        raise SystemExit("the harness can be imported")
    config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
    model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True, dtype=torch.float32).eval()
    token_ids = torch.randint(3, 300, (2, 23), generator=torch.Generator().manual_seed(7))
    mask = torch.ones_like(token_ids)
    tokens = model.generate(token_ids, attention_mask=mask, max_new_tokens=8, do_sample=False)
    with torch.inference_mode():
        torch.save(model(input_ids=token_ids, use_cache=False).logits, f"{result}/logits.pt")
    model.save_pretrained(f"{result}/saved")
    again = AutoModelForCausalLM.from_pretrained(f"{result}/saved", trust_remote_code=True)
    facts = {
        "tokens": tokens.tolist(),
        "module": type(model).__module__,
        "config": type(config).__name__,
        "same_again": all(torch.equal(part, again.state_dict()[name]) for name, part in model.state_dict().items()),
        "version": version,
    }
    Path(result, "facts.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main(*sys.argv[1:])
