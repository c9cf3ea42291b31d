"""Hypothesis for a shared machine: the same examples each run, and no stopwatch."""

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")
