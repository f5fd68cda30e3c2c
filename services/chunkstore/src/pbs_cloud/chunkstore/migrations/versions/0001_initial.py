"""The complete first schema: datastores, contents, sessions, chunks, usage, tasks, outbox."""

from pbs_cloud.runtime.migrations import execute_script, tenant_isolation
from pbs_cloud.runtime.outbox import outbox_tables

revision = "0001"
down_revision = None

_CONTENTS = """
CREATE TABLE tenant_salt (
    tenant_id text PRIMARY KEY,
    salt bytea NOT NULL
);

CREATE TABLE datastore (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id text NOT NULL,
    name text NOT NULL,
    uuid uuid NOT NULL UNIQUE DEFAULT gen_random_uuid(),
    backend_type text NOT NULL CHECK (backend_type IN ('filesystem', 's3')),
    location text NOT NULL,
    config jsonb NOT NULL DEFAULT '{}',
    epoch bigint NOT NULL DEFAULT 0,
    state text NOT NULL DEFAULT 'active' CHECK (state IN ('creating', 'active', 'deleting', 'removed')),
    gc_status jsonb,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE UNIQUE INDEX datastore_name ON datastore (tenant_id, name) WHERE state <> 'removed';

CREATE TABLE namespace (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id text NOT NULL,
    datastore_id int NOT NULL REFERENCES datastore ON DELETE CASCADE,
    path text COLLATE "C" NOT NULL,
    UNIQUE (datastore_id, path)
);

CREATE TABLE backup_group (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id text NOT NULL,
    datastore_id int NOT NULL REFERENCES datastore ON DELETE CASCADE,
    namespace_id bigint NOT NULL REFERENCES namespace,
    backup_type text COLLATE "C" NOT NULL CHECK (backup_type IN ('vm', 'ct', 'host')),
    backup_id text COLLATE "C" NOT NULL,
    owner text NOT NULL,
    notes text NOT NULL DEFAULT '',
    UNIQUE (namespace_id, backup_type, backup_id)
);
CREATE INDEX backup_group_datastore ON backup_group (datastore_id);

CREATE TABLE session (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id text NOT NULL,
    datastore_id int NOT NULL REFERENCES datastore ON DELETE CASCADE,
    kind text NOT NULL CHECK (kind IN ('backup', 'benchmark', 'reader')),
    state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'finished', 'aborted', 'expired')),
    auth_id text NOT NULL,
    process_id text NOT NULL,
    group_id bigint,
    snapshot_id bigint,
    base_snapshot_id bigint,
    upid text,
    start_epoch bigint NOT NULL,
    lease_until timestamptz NOT NULL,
    quota_bytes bigint,
    unfinishable boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at timestamptz
);
CREATE UNIQUE INDEX session_group_lock ON session (group_id) WHERE state = 'active' AND kind <> 'reader';
CREATE INDEX session_lease ON session (lease_until) WHERE state = 'active';
CREATE INDEX session_process ON session (process_id) WHERE state = 'active';
CREATE INDEX session_ended ON session (ended_at) WHERE state <> 'active';
CREATE INDEX session_upid ON session (upid) WHERE upid IS NOT NULL;
CREATE INDEX session_datastore ON session (datastore_id) WHERE state = 'active';

CREATE TABLE snapshot (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id text NOT NULL,
    datastore_id int NOT NULL REFERENCES datastore ON DELETE CASCADE,
    group_id bigint NOT NULL REFERENCES backup_group,
    backup_time bigint NOT NULL,
    state text NOT NULL CHECK (state IN ('open', 'committed', 'removing')),
    session_id uuid,
    manifest text,
    manifest_size bigint,
    size bigint,
    protected boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    committed_at timestamptz,
    reusable_at timestamptz,
    UNIQUE (group_id, backup_time)
);
CREATE INDEX snapshot_datastore ON snapshot (datastore_id);
CREATE INDEX snapshot_committed ON snapshot (tenant_id) WHERE state = 'committed';
CREATE INDEX snapshot_removing ON snapshot (id) WHERE state = 'removing';

CREATE TABLE snapshot_file (
    snapshot_id bigint NOT NULL REFERENCES snapshot ON DELETE CASCADE,
    name text COLLATE "C" NOT NULL,
    tenant_id text NOT NULL,
    datastore_id int NOT NULL,
    kind text NOT NULL CHECK (kind IN ('fixed', 'dynamic', 'blob')),
    csum bytea,
    size bigint NOT NULL,
    stored_size bigint NOT NULL,
    location text,
    chunk_count bigint,
    PRIMARY KEY (snapshot_id, name)
);

CREATE TABLE pin (
    snapshot_id bigint NOT NULL REFERENCES snapshot,
    session_id uuid NOT NULL REFERENCES session ON DELETE CASCADE,
    tenant_id text NOT NULL,
    PRIMARY KEY (snapshot_id, session_id)
);
CREATE INDEX pin_session ON pin (session_id);
"""

_CHUNKS = """
CREATE TABLE chunk (
    datastore_id int NOT NULL,
    digest bytea NOT NULL CHECK (length(digest) = 32),
    tenant_id text NOT NULL,
    kind smallint NOT NULL,
    size int NOT NULL,
    raw_size int NOT NULL,
    location text,
    state smallint NOT NULL,
    touch_epoch bigint NOT NULL,
    condemned_run bigint,
    condemned_at timestamptz,
    delete_sent_at timestamptz,
    owner_session uuid,
    PRIMARY KEY (datastore_id, digest)
) PARTITION BY HASH (datastore_id);
"""

_CHUNK_INDEXES = """
CREATE INDEX chunk_uploading ON chunk (owner_session) WHERE state = 1;
CREATE INDEX chunk_corrupt ON chunk (datastore_id) WHERE state = 3;
CREATE INDEX chunk_condemned ON chunk (datastore_id, condemned_at) WHERE state = 4;
CREATE INDEX chunk_deleting ON chunk (datastore_id) WHERE state = 5;

CREATE TABLE usage_counter (
    datastore_id int NOT NULL REFERENCES datastore ON DELETE CASCADE,
    writer smallint NOT NULL,
    tenant_id text NOT NULL,
    bytes bigint NOT NULL,
    PRIMARY KEY (datastore_id, writer)
);
CREATE INDEX usage_counter_tenant ON usage_counter (tenant_id);
"""

_TASKS = """
CREATE TABLE task (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    upid text NOT NULL UNIQUE,
    tenant_id text NOT NULL,
    datastore_id int,
    store text,
    worker_type text NOT NULL,
    worker_id text,
    auth_id text NOT NULL,
    process_id text NOT NULL,
    node text NOT NULL,
    pid bigint NOT NULL,
    task_pstart bigint NOT NULL,
    starttime bigint NOT NULL,
    endtime bigint,
    status text,
    lease_until timestamptz NOT NULL,
    stop_requested boolean NOT NULL DEFAULT false
);
CREATE INDEX task_running ON task (tenant_id, starttime DESC, id DESC) WHERE endtime IS NULL;
CREATE INDEX task_ended ON task (tenant_id, endtime DESC, id DESC) WHERE endtime IS NOT NULL;
CREATE INDEX task_process ON task (process_id) WHERE endtime IS NULL;
CREATE INDEX task_lease ON task (lease_until) WHERE endtime IS NULL;

CREATE TABLE task_log (
    task_id bigint NOT NULL REFERENCES task ON DELETE CASCADE,
    n int NOT NULL,
    text text NOT NULL,
    tenant_id text NOT NULL,
    PRIMARY KEY (task_id, n)
);
"""

_PARTITIONS = 8
_TABLES = (
    "tenant_salt",
    "datastore",
    "namespace",
    "backup_group",
    "session",
    "snapshot",
    "snapshot_file",
    "pin",
    "chunk",
    "usage_counter",
    "task",
    "task_log",
)


def upgrade() -> None:
    """Make all tables; row-level security is forced on each, partitions included."""
    partitions = [f"chunk_p{n}" for n in range(_PARTITIONS)]
    made = "".join(
        f"CREATE TABLE {name} PARTITION OF chunk FOR VALUES WITH (MODULUS {_PARTITIONS}, REMAINDER {n});\n"
        for n, name in enumerate(partitions)
    )
    guarded = "".join(tenant_isolation(table) for table in (*_TABLES, *partitions))
    execute_script(_CONTENTS + _CHUNKS + made + _CHUNK_INDEXES + _TASKS + guarded + outbox_tables())
