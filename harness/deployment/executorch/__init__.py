"""ExecuTorch packages: PyTorch's own runtime on phones, and here the one that a measurement runs on.

    export.py       checkpoint -> folder: model.pte (program), model.ptd (weights), tokenizer files, package.json
    step.py         the graph that is exported: n tokens in, logits of the last one out, the KV cache inside
    rotation.py     cosine and sine of every position, as the model itself computes them
    placeholder.py  weights that take no memory while the program is lowered
    weights.py      the data file, streamed from the checkpoint
    lowering.py     the calls into executorch
    collecting.py   the garbage collector, kept from looking through living graphs
    bindings.py     the runtime's extension module, alone
    runner.py       a package, loaded and run
    check.py        does a package, in a fresh process, compute what its checkpoint computes?

One method, ``forward``, takes 1 to ``prefill_chunk`` tokens: prefill and decode share it, the weights and the cache.
The extra ``edge`` installs executorch; without it everything here says so where it is called.
"""
