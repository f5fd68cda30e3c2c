"""Which processes the product consists of, and the environment each of them gets."""

import importlib
import os
import signal
from dataclasses import dataclass, replace
from pathlib import Path

from pbs_cloud.runtime.errors import ConfigError
from pbs_cloud.runtime.lifecycle import ProcessSpec
from pbs_cloud.runtime.settings import Settings
from pbs_cloud.runtime.telemetry import MULTIPROC_VARIABLE, forget_process
from pbs_cloud.server.process import SUPERVISOR_VARIABLE
from pbs_cloud.server.spawn import spawn_python
from pbs_cloud.server.supervisor import Job

SERVICES = ("auth", "chunkstore", "gc", "billing", "gateway")

GROUP_ENTRANCE, GROUP_SERVICES, GROUP_BUS, GROUP_DATABASE = range(4)

# glibc would map and unmap, and so page-fault, each chunk buffer. Children of a process start another program at once,
# so gRPC has nothing to prepare for a fork.
_ALWAYS = {
    "MALLOC_MMAP_THRESHOLD_": "1073741824",
    "MALLOC_TRIM_THRESHOLD_": "2147483648",
    "GRPC_ENABLE_FORK_SUPPORT": "0",
}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the supervisor decides for its processes; None leaves the environment's own value."""

    metrics: Path
    database_url: str | None = None
    nats_url: str | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None

    def variables(self, settings: Settings) -> dict[str, str]:
        """The environment of every process."""
        chosen = {
            "PBS_DATA_DIR": settings.data_dir,
            "PBS_RUN_DIR": settings.run_path,
            "PBS_DATABASE_URL": self.database_url,
            "PBS_NATS_URL": self.nats_url,
            "PBS_TLS_CERT": self.tls_cert,
            "PBS_TLS_KEY": self.tls_key,
            "PBS_GATEWAY_WORKERS": settings.gateway_workers,
            MULTIPROC_VARIABLE: self.metrics,
            SUPERVISOR_VARIABLE: os.getpid(),
        }
        return {**os.environ, **_ALWAYS, **{name: str(value) for name, value in chosen.items() if value is not None}}


def process_specs(service: str, settings: Settings) -> list[ProcessSpec]:
    """The processes of one service, replicas spelled out with names of their own.

    Raises:
        ConfigError: there is no such service.
    """
    if service not in SERVICES:
        raise ConfigError(f"there is no service {service!r}; there are {', '.join(SERVICES)}")
    component = importlib.import_module(f"pbs_cloud.{service}.component")
    found: list[ProcessSpec] = component.processes(settings)
    return [single for spec in found for single in _replicas(spec)]


def _replicas(spec: ProcessSpec) -> list[ProcessSpec]:
    return [
        replace(
            spec,
            name=spec.name if spec.replicas == 1 else f"{spec.name}-{index}",
            replicas=1,
            env={**spec.env, "PBS_WORKER_INDEX": str(index)},
        )
        for index in range(spec.replicas)
    ]


def service_job(spec: ProcessSpec, surroundings: Surroundings, settings: Settings) -> Job:
    """A process of a service as a job of the supervisor."""
    env = {**surroundings.variables(settings), **spec.env, "PBS_PROCESS_NAME": spec.name}

    return Job(
        name=spec.name,
        spawn=lambda: spawn_python("pbs_cloud.server.process", spec.target, env=env),
        group=GROUP_ENTRANCE if spec.stop_first else GROUP_SERVICES,
        stop_signal=signal.SIGTERM,
        stop_seconds=settings.shutdown_seconds + 3.0 if spec.stop_first else 8.0,
        ended=lambda name: forget_process(surroundings.metrics, name),
    )
