"""Metrics of sessions (rest-api D.10)."""

from pbs_cloud.runtime.telemetry import Counter, Gauge

ACTIVE_SESSIONS = Gauge("pbs_active_sessions", "Open sessions", ["type"], multiprocess_mode="livesum")
BACKUP_BYTES = Counter("pbs_backup_bytes", "Bytes of chunks and blobs stored in backup sessions")
RESTORE_BYTES = Counter("pbs_restore_bytes", "Bytes of files and chunks sent in reader sessions")
