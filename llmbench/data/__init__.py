"""What the installed package carries: its prompt sets, and the corpus of synthetic prompts."""
