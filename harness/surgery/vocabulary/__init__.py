"""A smaller vocabulary: which tokens stay, and the tokenizer and the settings that know only those.

    frequencies ──> selection ──keep──┬──> tokenizer_files   tokenizer.json, generation_config.json, ...
    mandatory ──────────┘             ├──> settings          the ids in config.json
                                      └──> the plan's vocab  rows of the embedding and of the head

``keep`` is an ascending tuple of old token ids; the new id of a token is its position in it.
"""
