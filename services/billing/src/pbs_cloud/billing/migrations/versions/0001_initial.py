"""Events that were counted, usage per tenant, datastore and hour, and the totals."""

from pbs_cloud.runtime.inbox import inbox_table
from pbs_cloud.runtime.migrations import execute_script, tenant_isolation

revision = "0001"
down_revision = None

_TABLES = """
-- each event counts once: its id is the key of what was counted
CREATE TABLE metering_event (
    id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    type text NOT NULL,
    store text NOT NULL,
    bytes bigint NOT NULL,
    occurred_at bigint NOT NULL,
    metadata jsonb NOT NULL,
    counted_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX metering_event_counted ON metering_event (counted_at);

-- store '': what belongs to the tenant as a whole. Times in Unix seconds, hour = their beginning
CREATE TABLE usage_hour (
    tenant_id text NOT NULL,
    store text NOT NULL,
    hour bigint NOT NULL,
    upload_bytes bigint NOT NULL DEFAULT 0,
    download_bytes bigint NOT NULL DEFAULT 0,
    backup_count bigint NOT NULL DEFAULT 0,
    deleted_count bigint NOT NULL DEFAULT 0,
    api_requests bigint NOT NULL DEFAULT 0,
    storage_bytes bigint,
    PRIMARY KEY (tenant_id, store, hour)
);
CREATE TABLE usage_total (
    tenant_id text NOT NULL,
    store text NOT NULL,
    upload_bytes bigint NOT NULL DEFAULT 0,
    download_bytes bigint NOT NULL DEFAULT 0,
    backup_count bigint NOT NULL DEFAULT 0,
    deleted_count bigint NOT NULL DEFAULT 0,
    api_requests bigint NOT NULL DEFAULT 0,
    storage_bytes bigint,
    updated_at bigint NOT NULL,
    PRIMARY KEY (tenant_id, store)
);
"""


def upgrade() -> None:
    guarded = "".join(tenant_isolation(table) for table in ("metering_event", "usage_hour", "usage_total"))
    execute_script(_TABLES + guarded + inbox_table())
