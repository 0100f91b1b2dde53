"""One control plane for the whole session; tests that break components start their own."""

from __future__ import annotations

from cluster import cluster_fixture

cluster = cluster_fixture()
