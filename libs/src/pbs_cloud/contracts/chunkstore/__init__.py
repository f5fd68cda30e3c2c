"""Typed clients of the chunkstore service: ``ChunksClient`` for bytes, ``CatalogueClient`` for everything else."""

from pbs_cloud.contracts.chunkstore.catalogue import CatalogueClient
from pbs_cloud.contracts.chunkstore.chunks import ChunksClient

__all__ = ["CatalogueClient", "ChunksClient"]
