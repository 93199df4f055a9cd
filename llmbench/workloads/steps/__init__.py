"""Host steps of pipelines: what happens between networks, in NumPy. Each is timed as a stage, so that nothing hides."""
