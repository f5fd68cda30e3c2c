"""Runs of garbage collection (formats 9.9): at most one unfinished per datastore."""

from pbs_cloud.runtime.migrations import execute_script, tenant_isolation

revision = "0003"
down_revision = "0002"

_TABLE = """
CREATE TABLE gc_run (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id text NOT NULL,
    datastore_id int NOT NULL REFERENCES datastore ON DELETE CASCADE,
    run_epoch bigint NOT NULL,
    token uuid NOT NULL UNIQUE DEFAULT gen_random_uuid(),
    process_id text NOT NULL,
    phase text NOT NULL DEFAULT 'mark' CHECK (phase IN ('mark', 'condemn', 'delete')),
    dry_run boolean NOT NULL DEFAULT false,
    orphans_due boolean NOT NULL DEFAULT false,
    cutoff bigint,
    lease_until timestamptz NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at timestamptz,
    upid text,
    result text,
    statistics jsonb NOT NULL DEFAULT '{}',
    removed_chunks bigint NOT NULL DEFAULT 0,
    removed_bytes bigint NOT NULL DEFAULT 0,
    removed_bad bigint NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX gc_run_unfinished ON gc_run (datastore_id) WHERE ended_at IS NULL;
CREATE INDEX gc_run_ended ON gc_run (datastore_id, id DESC) WHERE ended_at IS NOT NULL;
"""


def upgrade() -> None:
    """`token` names the run for whoever holds it; a run that is taken over gets a new one."""
    execute_script(_TABLE + tenant_isolation("gc_run"))
