"""Outgoing webhooks, what waits for delivery, API calls of the running minute; usage of datastores over time."""

from pbs_cloud.runtime.migrations import execute_script, tenant_isolation

revision = "0002"
down_revision = "0001"

# secret, headers: encrypted with a key that is not in the database. lease: the replica that delivers right now.
# usage_slot: sums of `samples` values, so that averages can be taken; slot = beginning in Unix seconds.
_TABLES = """
CREATE TABLE webhook (
    id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    url text NOT NULL,
    secret bytea,
    headers bytea,
    header_names text[] NOT NULL,
    event_filter text[] NOT NULL,
    max_retries int NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    delivered bigint NOT NULL DEFAULT 0,
    dropped bigint NOT NULL DEFAULT 0,
    failures bigint NOT NULL DEFAULT 0,
    paused_until timestamptz,
    last_attempt timestamptz,
    last_status text,
    last_success timestamptz,
    lease uuid,
    lease_until timestamptz
);
CREATE INDEX webhook_tenant ON webhook (tenant_id);

CREATE TABLE webhook_delivery (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id text NOT NULL,
    webhook_id uuid NOT NULL REFERENCES webhook ON DELETE CASCADE,
    event_id uuid NOT NULL,
    event_type text NOT NULL,
    body text NOT NULL,
    attempts int NOT NULL DEFAULT 0,
    next_attempt timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_error text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (webhook_id, event_id)
);
CREATE INDEX webhook_delivery_due ON webhook_delivery (webhook_id, next_attempt);
CREATE INDEX webhook_delivery_age ON webhook_delivery (created_at);

CREATE TABLE api_minute (
    tenant_id text NOT NULL,
    minute bigint NOT NULL,
    requests bigint NOT NULL,
    PRIMARY KEY (tenant_id, minute)
);

CREATE TABLE sampled_store (
    tenant_id text NOT NULL,
    store text NOT NULL,
    used bigint NOT NULL,
    PRIMARY KEY (tenant_id, store)
);
INSERT INTO sampled_store (tenant_id, store, used)
    SELECT tenant_id, store, storage_bytes FROM usage_total WHERE store <> '' AND storage_bytes > 0;

CREATE TABLE usage_slot (
    tenant_id text NOT NULL,
    store text NOT NULL,
    step int NOT NULL,
    slot bigint NOT NULL,
    samples int NOT NULL,
    total_sum double precision NOT NULL,
    used_sum double precision NOT NULL,
    available_sum double precision NOT NULL,
    total_max double precision NOT NULL,
    used_max double precision NOT NULL,
    available_max double precision NOT NULL,
    PRIMARY KEY (tenant_id, store, step, slot)
);
CREATE INDEX usage_slot_age ON usage_slot (step, slot);
CREATE TABLE sampling (tenant_id text PRIMARY KEY DEFAULT '*', last_minute bigint NOT NULL);
"""
_GUARDED = ("webhook", "webhook_delivery", "api_minute", "sampled_store", "usage_slot", "sampling")


def upgrade() -> None:
    execute_script(_TABLES + "".join(tenant_isolation(table) for table in _GUARDED))
