"""Sentences about a report or a comparison, for every rendering."""
