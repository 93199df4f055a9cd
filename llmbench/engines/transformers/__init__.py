"""Engines on transformers: optimum-intel and PyTorch."""
