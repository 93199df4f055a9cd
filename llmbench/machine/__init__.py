"""The machine: topology, affinity, interference, memory, energy, and what would spoil a measurement."""
