"""Engines on OpenVINO: GenAI pipelines and a bare loop over a stateful IR."""
