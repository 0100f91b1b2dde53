"""Emulated GPU nodes and serving engines on a real control plane, for the demo and the end-to-end tests."""
