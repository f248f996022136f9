"""Safetensors files from bare bits, headers of any length included."""

from __future__ import annotations

import json

from harness.checkpoint.shards import INDEX_NAME


def write_shard(path, tensors, *, padding=0):
    """``tensors``: name -> (dtype of safetensors, array whose bytes it has). ``padding`` moves the data along."""
    header, offset = {}, 0
    for name, (dtype, array) in tensors.items():
        stop = offset + array.nbytes
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [offset, stop]}
        offset = stop
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8 + padding)
    data = b"".join(array.tobytes() for _, array in tensors.values())
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def write_checkpoint(folder, shards, *, padding=0):
    """``shards``: a list of ``tensors``; one is a file of its own, more have an index."""
    folder.mkdir(parents=True, exist_ok=True)
    names = ["model.safetensors"] if len(shards) == 1 else [f"part-{n}.safetensors" for n in range(len(shards))]
    for name, tensors in zip(names, shards, strict=True):
        write_shard(folder / name, tensors, padding=padding)
    if len(shards) > 1:
        places = {tensor: name for name, tensors in zip(names, shards, strict=True) for tensor in tensors}
        (folder / INDEX_NAME).write_text(json.dumps({"weight_map": places}))
    (folder / "config.json").write_text("{}")
    return folder
