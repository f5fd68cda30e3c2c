"""Retention locks: snapshots that stay until a time."""

from pbs_cloud.runtime.migrations import execute_script

revision = "0005"
down_revision = "0004"

_COLUMNS = """
ALTER TABLE snapshot ADD COLUMN retain_until bigint;
ALTER TABLE snapshot ADD COLUMN kept boolean NOT NULL DEFAULT false;
CREATE INDEX snapshot_retained ON snapshot (retain_until) WHERE retain_until IS NOT NULL;
"""


def upgrade() -> None:
    """A locked snapshot is protected until `retain_until` (Unix seconds), and after it if somebody asked (`kept`)."""
    execute_script(_COLUMNS)
