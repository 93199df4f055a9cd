"""Conversion of models to OpenVINO IR, and its verification."""
