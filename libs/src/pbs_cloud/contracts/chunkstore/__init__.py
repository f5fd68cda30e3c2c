"""Typed clients of the chunkstore service: ``ChunksClient`` for bytes, ``VerifierClient`` to check them,
``CatalogueClient`` for everything else."""

from pbs_cloud.contracts.chunkstore.catalogue import CatalogueClient
from pbs_cloud.contracts.chunkstore.chunks import ChunksClient
from pbs_cloud.contracts.chunkstore.verifier import VerifierClient

__all__ = ["CatalogueClient", "ChunksClient", "VerifierClient"]
