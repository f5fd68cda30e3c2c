"""Bytes that backups wrote and restores read over time."""

from pbs_cloud.runtime.migrations import execute_script, tenant_isolation

revision = "0003"
down_revision = "0002"

# slot = beginning in Unix seconds, as in usage_slot
_TABLES = """
CREATE TABLE traffic_slot (
    tenant_id text NOT NULL,
    store text NOT NULL,
    step int NOT NULL,
    slot bigint NOT NULL,
    read_bytes double precision NOT NULL,
    write_bytes double precision NOT NULL,
    PRIMARY KEY (tenant_id, store, step, slot)
);
CREATE INDEX traffic_slot_age ON traffic_slot (step, slot);
"""


def upgrade() -> None:
    execute_script(_TABLES + tenant_isolation("traffic_slot"))
