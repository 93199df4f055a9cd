"""The run file: its events, its writer and its reader, and importers of other files."""
