"""The serving model: engine instances as pure arithmetic, shared by planner, replay and emulator."""
