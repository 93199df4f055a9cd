"""The machine: topology, affinity, interference, memory, energy, and what would disturb a measurement."""
