"""Which request classes share a lane."""
