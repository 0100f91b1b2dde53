"""Joulery: LLM inference for less energy, inside its latency objectives."""

__version__ = "0.1.0"
