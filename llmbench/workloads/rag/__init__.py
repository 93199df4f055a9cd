"""Retrieval-augmented generation: a request is one question, answered from the chunks that are nearest to it."""
