"""Filters of documents: what of the allowed data is worth training on.

    verdict      a filter is a function from a document to a verdict: keep it, keep a part of it, drop it, and why
    cascade      filters one after the other, with counts and examples of what each dropped
    urls         lines that hold a URL
    words        documents with sensitive words, by a list
    repetition   documents that say the same again and again (the rules of Gopher)
    exact        documents that were there before
    near         documents that are nearly like one before (MinHash, locality-sensitive hashing)
    settings     the filters of a recipe
    packing      training windows of filtered documents, through the data door

Another filter is another function: nothing here knows which ones there are but ``settings``.
"""
