"""Configured jobs; backups that wait for their verification; the position in the chunkstore service's events."""

from pbs_cloud.runtime.inbox import inbox_table
from pbs_cloud.runtime.migrations import execute_script, tenant_isolation

revision = "0002"
down_revision = "0001"

# base: Unix seconds after which the next run is looked for (creation, change of the schedule, start of the last run)
_TABLES = """
CREATE TABLE job (
    tenant_id text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('prune', 'verify')),
    id text NOT NULL,
    store text NOT NULL,
    fields jsonb NOT NULL,
    base bigint NOT NULL,
    next_run bigint,
    last_upid text,
    last_state text,
    last_endtime bigint,
    PRIMARY KEY (tenant_id, kind, id)
);
CREATE INDEX job_due ON job (next_run) WHERE next_run IS NOT NULL;
CREATE INDEX job_store ON job (tenant_id, store);

CREATE TABLE new_backup (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id text NOT NULL,
    store text NOT NULL,
    ns text NOT NULL,
    snapshot text NOT NULL
);
"""


def upgrade() -> None:
    execute_script(_TABLES + tenant_isolation("job") + tenant_isolation("new_backup") + inbox_table())
