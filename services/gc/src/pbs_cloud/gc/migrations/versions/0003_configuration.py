"""Configuration that is kept for clients: remotes, sync jobs, traffic rules."""

from pbs_cloud.runtime.migrations import execute_script, tenant_isolation

revision = "0003"
down_revision = "0002"

# secret: encrypted with a key that is not in the database
_TABLES = """
CREATE TABLE config_entry (
    tenant_id text NOT NULL,
    section text NOT NULL CHECK (section IN ('remote', 'sync', 'traffic-control')),
    id text NOT NULL,
    fields jsonb NOT NULL,
    secret bytea,
    PRIMARY KEY (tenant_id, section, id)
);
"""


def upgrade() -> None:
    execute_script(_TABLES + tenant_isolation("config_entry"))
