"""Which process writes an object: of two attempts by one session only the one that still holds the row may end it."""

from pbs_cloud.runtime.migrations import execute_script

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """`writer` is the run of a chunk store process, new at each of its starts; empty once the object is durable."""
    execute_script("ALTER TABLE chunk ADD COLUMN writer uuid;")
