"""Judged numbers: metrics, statistics, validity, reports of a run, and what they say together."""
