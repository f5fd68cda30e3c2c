"""Request metrics (rest-api D.10). The label is the route template, never a raw path."""

from __future__ import annotations

from pbs_cloud.runtime.telemetry import DURATION_BUCKETS, Counter, Histogram

REQUESTS = Counter("pbs_requests_total", "REST requests", ["endpoint", "method", "status"])
DURATION = Histogram(
    "pbs_request_duration_seconds", "Time to answer REST requests", ["endpoint", "method"], buckets=DURATION_BUCKETS
)
METHODS = frozenset({"GET", "PUT", "POST", "DELETE"})


def observe(endpoint: str, method: str, status: int, seconds: float) -> None:
    """Count one answered request."""
    known = method if method in METHODS else "other"
    REQUESTS.labels(endpoint, known, str(status)).inc()
    DURATION.labels(endpoint, known).observe(seconds)
