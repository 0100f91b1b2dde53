"""The demo runner: real control plane, our operator and agents, emulated nodes, and the replay beside it."""
