"""Servers of the OpenAI protocol: how llmbench starts them, and the client that requests completions of them."""
