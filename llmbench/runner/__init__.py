"""Running measurements: launches in fresh processes, supervised, recorded as they happen."""
