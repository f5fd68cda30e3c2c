"""What this process counts."""

from pbs_cloud.runtime.telemetry import DURATION_BUCKETS, Counter, Histogram

STORED = Counter("pbs_chunks_stored", "Chunks that were written")
DUPLICATES = Counter("pbs_chunks_duplicate", "Uploaded chunks that were there already")
BYTES_RECEIVED = Counter("pbs_chunks_received_bytes", "Encoded bytes of accepted uploads")
BYTES_STORED = Counter("pbs_chunks_stored_bytes", "Encoded bytes that were written")
BYTES_READ = Counter("pbs_chunks_read_bytes", "Encoded bytes that were served")
READ = Counter("pbs_chunks_read", "Chunks that were served")
REJECTED = Counter("pbs_chunks_rejected", "Uploads that failed their checks")
POISONED = Counter("pbs_chunks_poisoned", "Encrypted objects found under the digest of checked content")
CORRUPT = Counter("pbs_chunks_corrupt", "Stored chunks found damaged or missing")
VERIFIED = Counter("pbs_chunks_verified", "Chunks that a verification asked for")
SYNCS = Counter("pbs_chunks_group_syncs", "Group syncs of local directories", ["outcome"])
PUT_SECONDS = Histogram("pbs_chunks_put_seconds", "Time per upload", buckets=DURATION_BUCKETS)
GET_SECONDS = Histogram("pbs_chunks_get_seconds", "Time per read", buckets=DURATION_BUCKETS)
SYNC_SECONDS = Histogram("pbs_chunks_group_sync_seconds", "Time per group sync", buckets=DURATION_BUCKETS)
