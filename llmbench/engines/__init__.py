"""Adapters to the engines that generate; heavy packages are imported only here, and only when used."""
