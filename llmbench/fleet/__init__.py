"""One command on many hosts, through the scheduler that a site already runs: Slurm or Ray."""
