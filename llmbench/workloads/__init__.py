"""What a request is and what goes into it."""
