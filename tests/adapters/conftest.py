"""The API server of canned answers as a fixture."""

from __future__ import annotations

from fake_api import api

__all__ = ["api"]
