"""The planner, pure: from a snapshot, measured load, policies and profiles to a decision with its reasons."""
