"""The node agent: follows the clock tables of its node's engines and locks GPU clocks through NVML.

It imports neither kopf nor the optimizer. Every failure ends at default clocks, which are the fast ones.
"""
