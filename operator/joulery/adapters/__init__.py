"""I/O: Kubernetes, Prometheus, profile files. Adapters implement the ports and take no decisions."""
