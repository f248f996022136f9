"""Plays mlc_llm: prints what the dialogue says, writes what a package holds. Imports nothing of the harness.

python fake_mlc_llm.py SUBCOMMAND ...    FAKE_DIALOGUE: the JSON file to speak by; FAKE_PACKAGE: a package to copy
"""

import itertools
import json
import os
import shutil
import sys
from pathlib import Path

arguments = sys.argv[1:]
name, options = arguments[0], dict(itertools.pairwise(arguments))
step = json.loads(Path(os.environ["FAKE_DIALOGUE"]).read_text())[name]
for line in step["lines"]:
    print(line, flush=True, file=sys.stderr if line.startswith("[") else sys.stdout)
if step["exit"]:
    sys.exit(step["exit"])
out, package = Path(options["-o"]), Path(os.environ["FAKE_PACKAGE"])
if name == "gen_config":
    config = json.loads((package / "mlc-chat-config.json").read_text())
    config["conv_template"] = {"name": options["--conv-template"], "stop_token_ids": [128001]}
    config["asked"] = options
    (out / "mlc-chat-config.json").write_text(json.dumps(config))
    for file in package.glob("tokenizer*"):
        shutil.copyfile(file, out / file.name)
    source = json.loads((Path(arguments[1]) / "config.json").read_text())
    (out / "seen.json").write_text(json.dumps(source))
elif name == "convert_weight":
    for file in [*package.glob("params_shard_*.bin"), package / "tensor-cache.json"]:
        shutil.copyfile(file, out / file.name)
elif name == "compile":
    out.write_bytes(b"library")
else:
    (out / "lib").mkdir(parents=True)
    (out / "asked.json").write_text(Path(options["--package-config"]).read_text())
