"""Judgement: checks that hold an entry against an edition of the rules and return what they find, all of it."""
