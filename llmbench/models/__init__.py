"""Model files on disk, read without an engine."""
