"""The settings of a configuration, a row each, in a module per workload."""
