"""The REST worker: everything below ``/api2`` that is no protocol upgrade, health and metrics."""
