"""Watts of an H100 by kind of time from public measurements, and their errors on rows they were not fitted to."""
