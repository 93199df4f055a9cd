"""Retrieval: documents, the database that holds their chunks with vectors, and the search for the nearest ones."""
