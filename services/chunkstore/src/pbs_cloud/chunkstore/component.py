"""The processes of the chunkstore service."""

from pbs_cloud.runtime.lifecycle import ProcessSpec
from pbs_cloud.runtime.settings import Settings


def processes(settings: Settings) -> list[ProcessSpec]:
    """``chunks`` (bytes and claims) and ``catalogue`` (the rest), each an interpreter of its own.

    ``settings`` is what every service's function takes; both processes are single, wherever they run.
    """
    return [
        ProcessSpec(name="chunks", target="pbs_cloud.chunkstore.chunks.main:main"),
        ProcessSpec(name="catalogue", target="pbs_cloud.chunkstore.catalogue.main:main"),
    ]
