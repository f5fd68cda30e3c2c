"""Faults at every call of the services to Postgres, storage and NATS, and a world to provoke them in."""
