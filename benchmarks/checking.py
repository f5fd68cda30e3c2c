"""What checking a chunk costs by itself: the part of the server's work that no design can avoid."""

import time

from benchmarks.data import Chunk
from pbs_cloud.formats.blob import verify_plain_chunk


def checking_seconds_per_gb(chunks: list[Chunk]) -> float:
    """CPU seconds of decompression and SHA-256 for 10^9 wire bytes, one thread."""
    started = time.process_time()
    for chunk in chunks:
        verify_plain_chunk(chunk.encoded, chunk.digest, chunk.raw_size)
    return (time.process_time() - started) / sum(len(chunk.encoded) for chunk in chunks) * 1e9
