"""The values that flow through the package and are stored; no I/O, no judgement."""
