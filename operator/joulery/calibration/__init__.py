"""Parameters of the serving model from public measurements, and its errors on rows they were not fitted to."""
