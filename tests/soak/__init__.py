"""What runs until it is stopped: `make soak` (docs/simulation.md)."""
