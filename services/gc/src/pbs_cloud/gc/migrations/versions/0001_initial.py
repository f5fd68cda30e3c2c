"""What jobs did, shared by all replicas."""

from pbs_cloud.runtime.migrations import execute_script, tenant_isolation

revision = "0001"
down_revision = None

# tenant '*': a job that crosses tenants; only system transactions see its row
_TABLES = """
CREATE TABLE job_status (
    tenant_id text NOT NULL DEFAULT '*',
    job text NOT NULL,
    runs bigint NOT NULL DEFAULT 0,
    affected bigint NOT NULL DEFAULT 0,
    last_run timestamptz,
    PRIMARY KEY (tenant_id, job)
);
"""


def upgrade() -> None:
    execute_script(_TABLES + tenant_isolation("job_status"))
