"""Tenants, users, tokens, ACL entries, ticket keys, audit log and the outbox."""

from pbs_cloud.runtime.migrations import execute_script, tenant_isolation
from pbs_cloud.runtime.outbox import outbox_tables

revision = "0001"
down_revision = None

_TABLES = """
CREATE TABLE tenant (
    id text PRIMARY KEY CHECK (id NOT IN ('', '*')),
    name text NOT NULL,
    slug text NOT NULL,
    created_at bigint NOT NULL,
    active boolean NOT NULL DEFAULT true,
    quota_bytes bigint CHECK (quota_bytes >= 0),
    metadata jsonb NOT NULL DEFAULT '{}',
    maintenance text,
    salt uuid NOT NULL DEFAULT gen_random_uuid(),
    users_revision bigint NOT NULL DEFAULT 0,
    acl_revision bigint NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX tenant_slug ON tenant (lower(slug));

-- userids are unique over all tenants: a login carries nothing else (rest-api E.2)
CREATE TABLE tenant_user (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id text NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
    userid text NOT NULL UNIQUE,
    password_hash text,
    comment text,
    firstname text,
    lastname text,
    email text,
    enable boolean NOT NULL DEFAULT true,
    expire bigint NOT NULL DEFAULT 0,
    created_at bigint NOT NULL,
    last_login bigint,
    UNIQUE (tenant_id, id)
);

-- login_id: what tickets made from the secret name; a new secret gets a new one
CREATE TABLE api_token (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id text NOT NULL,
    user_id uuid NOT NULL,
    name text NOT NULL,
    token_id text NOT NULL UNIQUE,
    secret_hash bytea NOT NULL UNIQUE,
    login_id uuid NOT NULL UNIQUE DEFAULT gen_random_uuid(),
    comment text,
    enable boolean NOT NULL DEFAULT true,
    expire bigint NOT NULL DEFAULT 0,
    created_at bigint NOT NULL,
    last_used bigint,
    UNIQUE (user_id, name),
    FOREIGN KEY (tenant_id, user_id) REFERENCES tenant_user (tenant_id, id) ON DELETE CASCADE
);

CREATE TABLE acl_entry (
    tenant_id text NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
    auth_id text NOT NULL,
    path text NOT NULL,
    role text NOT NULL,
    propagate boolean NOT NULL,
    PRIMARY KEY (tenant_id, auth_id, path, role)
);

-- a key signs tickets dated active_from or later, until the next key's active_from
CREATE TABLE signing_key (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    active_from bigint NOT NULL UNIQUE,
    ticket_seed bytea NOT NULL CHECK (length(ticket_seed) = 32),
    csrf_secret bytea NOT NULL CHECK (length(csrf_secret) = 32)
);
ALTER TABLE signing_key ENABLE ROW LEVEL SECURITY;
ALTER TABLE signing_key FORCE ROW LEVEL SECURITY;
CREATE POLICY system_only ON signing_key USING ((SELECT current_setting('pbs.tenant')) = '*');

-- tenant_id is the tenant that was changed; rows outlive it
CREATE TABLE audit_log (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor_tenant_id text NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    target text NOT NULL,
    detail jsonb NOT NULL DEFAULT '{}',
    client_address text NOT NULL DEFAULT '',
    request_id text NOT NULL DEFAULT ''
);
CREATE INDEX audit_log_tenant ON audit_log (tenant_id, id);
"""

_VIEWS = """
-- credentials to everything that rights need, in one statement
CREATE VIEW user_principal AS
    SELECT t.id AS tenant_id, t.active AS tenant_active, t.quota_bytes, t.maintenance,
        u.id AS user_uuid, u.userid, u.password_hash, u.enable AS user_enable, u.expire AS user_expire,
            u.last_login,
        NULL::uuid AS token_uuid, NULL::text AS token_id, NULL::bytea AS secret_hash, NULL::uuid AS login_id,
        NULL::boolean AS token_enable, NULL::bigint AS token_expire, NULL::bigint AS last_used,
        (SELECT coalesce(jsonb_agg(jsonb_build_array(a.path, a.auth_id, a.role, a.propagate)
                                   ORDER BY a.path, a.role), '[]')
           FROM acl_entry a WHERE a.tenant_id = u.tenant_id AND a.auth_id = u.userid) AS acl
    FROM tenant_user u JOIN tenant t ON t.id = u.tenant_id;
CREATE VIEW token_principal AS
    SELECT t.id AS tenant_id, t.active AS tenant_active, t.quota_bytes, t.maintenance,
        u.id AS user_uuid, u.userid, u.password_hash, u.enable AS user_enable, u.expire AS user_expire,
            u.last_login,
        k.id AS token_uuid, k.token_id, k.secret_hash, k.login_id,
        k.enable AS token_enable, k.expire AS token_expire, k.last_used,
        (SELECT coalesce(jsonb_agg(jsonb_build_array(a.path, a.auth_id, a.role, a.propagate)
                                   ORDER BY a.auth_id, a.path, a.role), '[]')
           FROM acl_entry a WHERE a.tenant_id = u.tenant_id AND a.auth_id IN (u.userid, k.token_id)) AS acl
    FROM api_token k JOIN tenant_user u ON u.id = k.user_id JOIN tenant t ON t.id = u.tenant_id;
"""


def upgrade() -> None:
    guarded = tenant_isolation("tenant", "id")
    guarded += "".join(tenant_isolation(table) for table in ("tenant_user", "api_token", "acl_entry", "audit_log"))
    execute_script(_TABLES + _VIEWS + guarded + outbox_tables())
