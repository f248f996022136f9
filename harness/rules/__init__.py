"""The vocabulary of the rules: what an edition allows, what a finding is. Judgement lives in ``harness.validation``."""
