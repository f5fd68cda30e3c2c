"""Sessions that hold the lock of a group while it is moved (rest-api C.6)."""

from pbs_cloud.runtime.migrations import execute_script

revision = "0004"
down_revision = "0003"

_KINDS = """
ALTER TABLE session DROP CONSTRAINT session_kind_check;
ALTER TABLE session ADD CONSTRAINT session_kind_check CHECK (kind IN ('backup', 'benchmark', 'reader', 'move'));
CREATE INDEX snapshot_moving ON snapshot (session_id) WHERE state = 'removing';
"""


def upgrade() -> None:
    """A moved group and the one it goes to each have such a session."""
    execute_script(_KINDS)
