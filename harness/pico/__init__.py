"""The embedded default: three small trained models and the rule-made corpus they come from.

    corpus/ --documents, instructions--> build --> models/<name>/ (package data) <-- catalogue
       `---test items--> tasks/ (OpenCompass's file layout)

Everything here is a demo: it makes the harness run in minutes, and nothing made from it is eligible.
"""
