"""Replay of request traces through the planner and the serving model, beside baselines."""
