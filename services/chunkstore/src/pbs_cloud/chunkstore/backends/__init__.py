"""Where chunks, indexes and blobs are kept: a directory or a bucket in the layout of a real PBS."""

from pbs_cloud.chunkstore.backends.opening import open_backend, store_location
from pbs_cloud.chunkstore.backends.port import ChunkBackend, StoreLocation

__all__ = ["ChunkBackend", "StoreLocation", "open_backend", "store_location"]
