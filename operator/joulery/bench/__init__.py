"""Benchmarks that ship: engines side by side on a fixed, seeded suite."""
