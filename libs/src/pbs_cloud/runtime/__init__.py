"""What every service stands on: settings, logs, metrics, database, outbox, bus, gRPC, lifecycle (README.md)."""
