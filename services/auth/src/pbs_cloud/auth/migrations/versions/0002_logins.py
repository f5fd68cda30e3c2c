"""Second factors, counters of failed logins, OpenID realms; tickets that end without their user; sealed ticket keys."""

from pbs_cloud.runtime.migrations import execute_script, tenant_isolation

revision = "0002"
down_revision = "0001"

_TABLES = """
ALTER TABLE tenant ADD COLUMN realms_revision bigint NOT NULL DEFAULT 0;

-- what tickets of the user itself name; a new one ends them all
ALTER TABLE tenant_user ADD COLUMN ticket_id uuid;
UPDATE tenant_user SET ticket_id = id;
ALTER TABLE tenant_user ALTER COLUMN ticket_id SET NOT NULL, ALTER COLUMN ticket_id SET DEFAULT gen_random_uuid();

-- sealed from now on; those that are not (32 bytes) are sealed by the first process that reads them
ALTER TABLE signing_key DROP CONSTRAINT signing_key_ticket_seed_check, DROP CONSTRAINT signing_key_csrf_secret_check;

-- one-time codes; `secret` is sealed, `last_step` the number of the newest code that was accepted
CREATE TABLE totp_entry (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id text NOT NULL,
    user_id uuid NOT NULL,
    description text NOT NULL,
    created_at bigint NOT NULL,
    enable boolean NOT NULL DEFAULT true,
    secret bytea NOT NULL,
    algorithm text NOT NULL,
    digits smallint NOT NULL,
    period smallint NOT NULL,
    last_step bigint NOT NULL,
    FOREIGN KEY (tenant_id, user_id) REFERENCES tenant_user (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX totp_entry_user ON totp_entry (user_id);

-- recovery keys that are not used yet; random, so their SHA-256 is enough
CREATE TABLE recovery_key (
    tenant_id text NOT NULL,
    user_id uuid NOT NULL,
    number smallint NOT NULL,
    key_hash bytea NOT NULL,
    PRIMARY KEY (user_id, number),
    FOREIGN KEY (tenant_id, user_id) REFERENCES tenant_user (tenant_id, id) ON DELETE CASCADE
);

-- a user that ever had a second factor: wrong answers since the last right one
CREATE TABLE factor_state (
    user_id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    recovery_created_at bigint,
    recovery_enable boolean NOT NULL DEFAULT true,
    recovery_description text NOT NULL DEFAULT '',
    totp_failures integer NOT NULL DEFAULT 0,
    failures integer NOT NULL DEFAULT 0,
    locked_until bigint NOT NULL DEFAULT 0,
    FOREIGN KEY (tenant_id, user_id) REFERENCES tenant_user (tenant_id, id) ON DELETE CASCADE
);

-- failed logins as leaking counters: `level` at the second `at`; `key` is a hash, also of names that nobody has
CREATE TABLE login_failure (
    scope text NOT NULL,
    key bytea NOT NULL,
    level double precision NOT NULL DEFAULT 0,
    at double precision NOT NULL,
    trusted_at double precision NOT NULL DEFAULT 0,
    forget_at double precision NOT NULL,
    PRIMARY KEY (scope, key)
);
CREATE INDEX login_failure_forget ON login_failure (forget_at);
ALTER TABLE login_failure ENABLE ROW LEVEL SECURITY;
ALTER TABLE login_failure FORCE ROW LEVEL SECURITY;
CREATE POLICY system_only ON login_failure USING ((SELECT current_setting('pbs.tenant')) = '*');

-- realm names are unique over all tenants: a login carries nothing else; `client_key` is sealed
CREATE TABLE openid_realm (
    realm text PRIMARY KEY,
    tenant_id text NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
    issuer_url text NOT NULL,
    client_id text NOT NULL,
    client_key bytea,
    comment text,
    scopes text,
    prompt text,
    acr_values text,
    username_claim text,
    autocreate boolean NOT NULL DEFAULT false,
    created_at bigint NOT NULL
);
CREATE UNIQUE INDEX openid_realm_name ON openid_realm (lower(realm));

-- logins that are at the provider right now; `state` is a hash, `code_verifier` sealed
CREATE TABLE openid_login (
    state bytea PRIMARY KEY,
    tenant_id text NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
    realm text NOT NULL REFERENCES openid_realm (realm) ON DELETE CASCADE,
    redirect_url text NOT NULL,
    nonce text NOT NULL,
    code_verifier bytea NOT NULL,
    expires_at bigint NOT NULL
);
CREATE INDEX openid_login_realm ON openid_login (realm, expires_at);
"""

_VIEWS = """
DROP VIEW user_principal, token_principal;
CREATE VIEW user_principal AS
    SELECT t.id AS tenant_id, t.active AS tenant_active, t.quota_bytes, t.maintenance,
        u.id AS user_uuid, u.userid, u.ticket_id, u.password_hash, u.enable AS user_enable, u.expire AS user_expire,
            u.last_login,
        NULL::uuid AS token_uuid, NULL::text AS token_id, NULL::bytea AS secret_hash, NULL::uuid AS login_id,
        NULL::boolean AS token_enable, NULL::bigint AS token_expire, NULL::bigint AS last_used,
        (SELECT coalesce(jsonb_agg(jsonb_build_array(a.path, a.auth_id, a.role, a.propagate)
                                   ORDER BY a.path, a.role), '[]')
           FROM acl_entry a WHERE a.tenant_id = u.tenant_id AND a.auth_id = u.userid) AS acl
    FROM tenant_user u JOIN tenant t ON t.id = u.tenant_id;
CREATE VIEW token_principal AS
    SELECT t.id AS tenant_id, t.active AS tenant_active, t.quota_bytes, t.maintenance,
        u.id AS user_uuid, u.userid, u.ticket_id, u.password_hash, u.enable AS user_enable, u.expire AS user_expire,
            u.last_login,
        k.id AS token_uuid, k.token_id, k.secret_hash, k.login_id,
        k.enable AS token_enable, k.expire AS token_expire, k.last_used,
        (SELECT coalesce(jsonb_agg(jsonb_build_array(a.path, a.auth_id, a.role, a.propagate)
                                   ORDER BY a.auth_id, a.path, a.role), '[]')
           FROM acl_entry a WHERE a.tenant_id = u.tenant_id AND a.auth_id IN (u.userid, k.token_id)) AS acl
    FROM api_token k JOIN tenant_user u ON u.id = k.user_id JOIN tenant t ON t.id = u.tenant_id;
"""

_GUARDED = ("totp_entry", "recovery_key", "factor_state", "openid_realm", "openid_login")


def upgrade() -> None:
    execute_script(_TABLES + _VIEWS + "".join(tenant_isolation(table) for table in _GUARDED))
