"""Retrieval: documents, the database that contains their chunks with vectors, and the search for the nearest ones."""
