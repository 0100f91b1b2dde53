"""A C shim of `libnvidia-ml.so.1` over a mapped file, built with the tests and the demo."""
