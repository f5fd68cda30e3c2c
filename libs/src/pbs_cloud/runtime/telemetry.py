"""Metrics (Prometheus, several processes as one) and traces (OpenTelemetry, off unless an endpoint is set).

The supervisor sets `PROMETHEUS_MULTIPROC_DIR`; each process writes its values into files there, and `render_metrics`
adds them up. A process is identified by its name, not by its pid: a restarted one continues its counters.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.multiprocess import MultiProcessCollector

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

MULTIPROC_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
CONTENT_TYPE = "text/plain; version=0.0.4"
DURATION_BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

__all__ = [
    "CONTENT_TYPE", "DURATION_BUCKETS", "MULTIPROC_VARIABLE", "Counter", "Gauge", "Histogram",
    "configure_metrics", "configure_tracing", "forget_process", "render_metrics", "tracer",
]  # fmt: skip


def configure_metrics(process: str) -> None:
    """Bind this process's metric files to its name; before the first metric is made."""
    if os.environ.get(MULTIPROC_VARIABLE):
        make: Any = values.MultiProcessValue
        values.ValueClass = make(lambda: process)


def render_metrics() -> bytes:
    """All metrics of all processes of this supervisor (of this process when there is none), text format 0.0.4."""
    if not os.environ.get(MULTIPROC_VARIABLE):
        return bytes(generate_latest())
    registry = CollectorRegistry()
    collector: Any = MultiProcessCollector
    collector(registry)
    return bytes(generate_latest(registry))


def forget_process(directory: Path, process: str) -> None:
    """Drop the live gauges of a process that ended; its counters stay."""
    for path in directory.glob(f"gauge_live*_{process}.db"):
        path.unlink(missing_ok=True)


def configure_tracing(endpoint: str | None, process: str) -> None:
    """Export traces to `endpoint` by OTLP; nothing at all is loaded when it is None."""
    if endpoint is None:
        return
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": "pbs-cloud", "service.instance.id": process}))
    exporter: Any = OTLPSpanExporter(endpoint=endpoint, insecure=endpoint.startswith("http://"))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)


def tracer(name: str) -> "Tracer":
    """A tracer; its spans go nowhere unless tracing is configured."""
    from opentelemetry import trace

    return trace.get_tracer(name)
