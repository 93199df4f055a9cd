"""Renderings of reports and comparisons; values come computed."""
