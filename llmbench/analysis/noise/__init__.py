"""How much a machine varies when nothing changes, and what a gate on it is worth."""
