"""Describe, then do: what of a checkpoint stays (plan), what that will weigh (count), carrying it out (apply)."""
