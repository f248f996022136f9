"""Training samples that rules write: arithmetic, lists and dictionaries, conversations, idiom cloze.

    arithmetic      expressions and stories, worked out          no parents but the rules
    snippets        Python on lists and dictionaries             likewise
    conversations   several turns, the last about an earlier     the instructions that they are made of
    idioms          a gap in a sentence, seven options           the Chinese documents

The types are the winner's of track scratch (below 2 % of the tokens); formats and numbers are ours. Each is an endless
stream that a seed decides, and each ``Problem`` states the answer that its text ends with.
"""
