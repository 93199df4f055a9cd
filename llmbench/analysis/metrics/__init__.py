"""The metrics of reports, in a module per workload."""
