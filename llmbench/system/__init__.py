"""What the machine is and what it does: topology, placement, environment, memory, bandwidth."""
