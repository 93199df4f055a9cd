"""One file a rendering: each takes values and writes them; none computes a result or parses an argument."""
