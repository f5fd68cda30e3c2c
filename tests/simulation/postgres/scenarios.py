"""Interleavings of two or three sessions that must end the same on the model and on Postgres.

A step is a session's name and `begin`, `begin isolated`, `commit`, `roll back`, or a statement with its arguments. The
rows are those of `content`: datastore 1, sessions 0 and 1 active, snapshots 1 and 2 committed, 3 open, chunk 0 live,
chunk 1 uploading by session 0, chunk 2 condemned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from simulation.postgres.random_arguments import DIGESTS, SESSIONS, WRITERS

from pbs_cloud.chunkstore.catalogue import leases
from pbs_cloud.chunkstore.chunks import claim_db
from pbs_cloud.chunkstore.collection import condemning, sweeping
from pbs_cloud.gc.verification import new_backups

NEW = bytes([9]) * 32
_LOCK_CHUNK = "SELECT state FROM chunk WHERE datastore_id = 1 AND digest = $1 FOR"
_SET_STATE = "UPDATE chunk SET state = $2 WHERE datastore_id = 1 AND digest = $1 AND state = $3"
_LOCK_SESSION = "SELECT state FROM session WHERE id = $1 FOR"
_END_SESSION = "UPDATE session SET state = 'expired' WHERE id = $1"
_INSERT = (
    "INSERT INTO chunk (datastore_id, digest, tenant_id, kind, size, raw_size, state, touch_epoch)"
    " VALUES (1, $1, 't1', 0, 1, 1, $2, 0)"
)
_NOTHING = f"{_INSERT} ON CONFLICT (datastore_id, digest) DO NOTHING"
_COUNT = "INSERT INTO usage_counter (datastore_id, writer, tenant_id, bytes) VALUES (1, $1, 't1', 5)"
_ADD = f"{_COUNT} ON CONFLICT (datastore_id, writer) DO UPDATE SET bytes = usage_counter.bytes + excluded.bytes"
_PIN = "INSERT INTO pin (snapshot_id, session_id, tenant_id) VALUES ($1, $2, 't1')"
_SESSION = (
    "INSERT INTO session (tenant_id, datastore_id, kind, auth_id, process_id, group_id, start_epoch, lease_until)"
    " VALUES ('t1', 1, 'backup', 'a', 'p', $1, 0, clock_timestamp())"
)
_NEWEST = (
    "SELECT id FROM snapshot WHERE group_id = 1 AND state = 'committed' ORDER BY backup_time DESC LIMIT 1 FOR KEY SHARE"
)
_GROUP = "SELECT id FROM backup_group WHERE id = 2 FOR"
_STORE = "SELECT epoch FROM datastore WHERE id = 1 FOR"
_CLAIM = (
    claim_db._CLAIM_NEW, 1, [SESSIONS[0]], "t1", [NEW, DIGESTS[0]], [0, 0], [10, 10], [10, 10],
    [SESSIONS[0], SESSIONS[0]], WRITERS[0],
)  # fmt: skip
_PUBLISH = (claim_db._PUBLISH, 1, [DIGESTS[1]], [SESSIONS[0]], [0], [7], [7], WRITERS[0])
_RENEW = (leases._RENEW_SESSIONS, "p1", [SESSIONS[0]], 60.0)
_DELETE = "DELETE FROM chunk WHERE datastore_id = 1 AND digest = $1"
_TOTAL = "SELECT sum(bytes)::bigint AS bytes FROM usage_counter WHERE datastore_id = 1"

Step = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Scenario:
    """`waits`: the sessions that have to wait at some time, so that the scenario shows what it is meant to show."""

    name: str
    steps: list[Step]
    waits: str = ""
    schema: str = "chunkstore"
    deadlock: bool = False
    """Postgres looks for one only after a time: whoever waits first shall have looked before the circle closes."""


def _two(*steps: Step, isolated: str = "") -> list[Step]:
    """Steps of A and B between their begins and ends; A commits first."""
    begins = [(name, "begin isolated" if name in isolated else "begin") for name in "AB"]
    return [*begins, *steps, ("A", "commit"), ("B", "commit")]


SCENARIOS = [
    Scenario(
        "an update waits and looks again",
        _two(("A", _SET_STATE, DIGESTS[0], 4, 2), ("B", _SET_STATE, DIGESTS[0], 3, 2)),
        "B",
    ),
    Scenario(
        "an update waits for one that is rolled back",
        [("A", "begin"), ("B", "begin"), ("A", _SET_STATE, DIGESTS[0], 4, 2), ("B", _SET_STATE, DIGESTS[0], 3, 2),
         ("A", "roll back"), ("B", "commit")],
        "B",
    ),
    Scenario(
        "an update that no longer fits keeps its lock",
        [("A", "begin"), ("B", "begin"), ("C", "begin"), ("A", _SET_STATE, DIGESTS[0], 4, 2),
         ("B", _SET_STATE, DIGESTS[0], 3, 2), ("A", "commit"), ("C", f"{_LOCK_CHUNK} UPDATE NOWAIT", DIGESTS[0]),
         ("C", "roll back"), ("B", "commit")],
        "B",
    ),
    Scenario(
        "an update sees what was committed after its statement began only in the row it locks",
        [("A", "begin"), ("B", "begin"), ("A", _SET_STATE, DIGESTS[0], 4, 2),
         ("A", "UPDATE session SET state = 'finished' WHERE id = $1", SESSIONS[0]),
         ("B", "UPDATE chunk SET size = 77 FROM session s WHERE chunk.datastore_id = 1 AND chunk.digest = $1"
               " AND s.id = $2 AND s.state = 'active' RETURNING chunk.state, s.state AS owner",
          DIGESTS[0], SESSIONS[0]),
         ("A", "commit"), ("B", "commit")],
        "B",
    ),
    Scenario(
        "publishing waits and finds the chunk taken over",
        _two(("A", "UPDATE chunk SET writer = $2 WHERE datastore_id = 1 AND digest = $1", DIGESTS[1], WRITERS[1]),
             ("B", *_PUBLISH)),
        "B",
    ),
    Scenario(
        "publishing waits for a lock only", _two(("A", f"{_LOCK_CHUNK} SHARE", DIGESTS[1]), ("B", *_PUBLISH)), "B"
    ),
    Scenario(
        "skip locked",
        _two(("A", f"{_LOCK_CHUNK} NO KEY UPDATE", DIGESTS[2]), ("B", sweeping._LOCK_CONDEMNED, 1, 0.0, 10),
             ("B", f"{_LOCK_CHUNK} NO KEY UPDATE SKIP LOCKED", DIGESTS[0])),
    ),
    Scenario(
        "condemning skips what is locked and looks again",
        _two(("A", _SET_STATE, DIGESTS[0], 3, 2), ("B", condemning._LOCK, 1, DIGESTS, 9, 2),
             ("B", condemning._LOCK_UPLOADS, 1, DIGESTS, 9, 1, 0.0)),
    ),
    Scenario(
        "nowait",
        _two(("A", f"{_LOCK_CHUNK} UPDATE", DIGESTS[0]), ("B", f"{_LOCK_CHUNK} SHARE NOWAIT", DIGESTS[0])),
    ),
    Scenario(
        "renewal passes key share, ending waits, a newcomer passes the one who waits",
        [("A", "begin"), ("B", "begin"), ("C", "begin"), ("A", f"{_LOCK_SESSION} KEY SHARE", SESSIONS[0]),
         ("B", *_RENEW), ("B", "commit"), ("B", "begin"), ("B", f"{_LOCK_SESSION} UPDATE", SESSIONS[0]),
         ("C", f"{_LOCK_SESSION} KEY SHARE", SESSIONS[0]), ("A", "commit"), ("C", "commit"), ("B", "commit")],
        "B",
    ),
    Scenario(
        "share lets share in and an update wait",
        [("A", "begin"), ("B", "begin"), ("C", "begin"), ("A", f"{_STORE} SHARE"), ("B", f"{_STORE} SHARE"),
         ("C", "UPDATE datastore SET epoch = epoch + 1 WHERE id = 1 RETURNING epoch"), ("A", "commit"), ("B", "commit"),
         ("C", "commit")],
        "C",
    ),
    Scenario(
        "waiters are served in order",
        [("A", "begin"), ("B", "begin"), ("C", "begin"), ("A", f"{_LOCK_CHUNK} UPDATE", DIGESTS[0]),
         ("B", _SET_STATE, DIGESTS[0], 3, 2), ("C", f"{_LOCK_CHUNK} UPDATE", DIGESTS[0]), ("A", "commit"),
         ("B", "commit"), ("C", "commit")],
        "BC",
    ),
    Scenario(
        "key share and the update of a key",
        _two(("A", "UPDATE chunk SET digest = $2 WHERE datastore_id = 1 AND digest = $1", DIGESTS[0], NEW),
             ("B", f"{_LOCK_CHUNK} KEY SHARE", DIGESTS[0])),
        "B",
    ),
    Scenario("an insert waits for the same key", _two(("A", _INSERT, NEW, 1), ("B", _INSERT, NEW, 2)), "B"),
    Scenario("do nothing waits for the same key", _two(("A", _INSERT, NEW, 1), ("B", _NOTHING, NEW, 2)), "B"),
    Scenario(
        "do nothing inserts what was rolled back",
        [("A", "begin"), ("B", "begin"), ("A", _INSERT, NEW, 1), ("B", _NOTHING, NEW, 2), ("A", "roll back"),
         ("B", "commit")],
        "B",
    ),
    Scenario(
        "do nothing beside an update of the row",
        _two(("A", _SET_STATE, DIGESTS[0], 4, 2), ("B", _NOTHING, DIGESTS[0], 2)),
        "B",
    ),
    Scenario(
        "do nothing beside a lock of the row",
        _two(("A", f"{_LOCK_CHUNK} UPDATE", DIGESTS[0]), ("B", _NOTHING, DIGESTS[0], 2)),
    ),
    Scenario(
        "an insert waits for a delete of its key",
        _two(("A", _DELETE, DIGESTS[0]), ("B", _INSERT, DIGESTS[0], 1)),
        "B",
    ),
    Scenario(
        "counters add up",
        [*_two(("A", _ADD, 1), ("B", _ADD, 1)), ("B", "begin"), ("B", _TOTAL), ("B", "commit")],
        "B",
    ),
    Scenario(
        "new counters add up",
        [*_two(("A", _ADD, 7), ("B", _ADD, 7)), ("B", "begin"), ("B", _TOTAL), ("B", "commit")],
        "B",
    ),
    Scenario(
        "one active session for each group",
        _two(("A", "UPDATE session SET state = 'finished' WHERE id = $1", SESSIONS[0]), ("B", _SESSION, 1)),
        "B",
    ),
    Scenario("two new sessions for one group", _two(("A", _SESSION, 3), ("B", _SESSION, 3)), "B"),
    Scenario(
        "a claim does not wait for a plain update of its session",
        _two(("A", _END_SESSION, SESSIONS[0]), ("B", *_CLAIM)),
    ),
    Scenario(
        "a claim waits for who ends its session",
        _two(("A", f"{_LOCK_SESSION} UPDATE", SESSIONS[0]), ("A", _END_SESSION, SESSIONS[0]), ("B", *_CLAIM)),
        "B",
    ),
    Scenario(
        "a claim waits for another claim",
        _two(("A", _INSERT, NEW, 1), ("B", *_CLAIM), ("A", f"{_LOCK_SESSION} KEY SHARE", SESSIONS[0])),
        "B",
    ),
    Scenario(
        "locking claimed chunks shows owners as they were when the statement began",
        _two(("A", f"{_LOCK_CHUNK} UPDATE", DIGESTS[1]), ("A", _END_SESSION, SESSIONS[0]),
             ("B", claim_db._LOCK_CHUNKS, 1, [DIGESTS[1]])),
        "B",
    ),
    Scenario(
        "the newest snapshot is removed: the next one is locked",
        _two(("A", "UPDATE snapshot SET state = 'removing' WHERE id = 2"), ("B", _NEWEST)),
    ),
    Scenario(
        "the newest snapshot is locked and removed: the next one is locked",
        _two(("A", "SELECT 1 FROM snapshot WHERE id = 2 FOR UPDATE"),
             ("A", "UPDATE snapshot SET state = 'removing' WHERE id = 2"), ("B", _NEWEST)),
        "B",
    ),
    Scenario(
        "a pin waits for the deletion of its snapshot",
        _two(("A", "DELETE FROM snapshot WHERE id = 2"), ("B", _PIN, 2, SESSIONS[1])),
        "B",
    ),
    Scenario(
        "the deletion of a snapshot waits for a pin",
        _two(("A", _PIN, 2, SESSIONS[1]), ("B", "DELETE FROM snapshot WHERE id = 2")),
        "B",
    ),
    Scenario(
        "files go with their snapshot, after a wait",
        _two(("A", "UPDATE snapshot_file SET size = 99 WHERE snapshot_id = 2"),
             ("B", "DELETE FROM snapshot WHERE id = 2")),
        "B",
    ),
    Scenario(
        "a group that is removed is not locked",
        _two(("A", "DELETE FROM backup_group WHERE id = 2"), ("B", f"{_GROUP} UPDATE")),
        "B",
    ),
    Scenario(
        "deadlock",
        _two(("A", f"{_LOCK_CHUNK} UPDATE", DIGESTS[0]), ("B", f"{_LOCK_CHUNK} UPDATE", DIGESTS[1]),
             ("A", f"{_LOCK_CHUNK} UPDATE", DIGESTS[1]), ("B", f"{_LOCK_CHUNK} UPDATE", DIGESTS[0])),
        "A",
        deadlock=True,
    ),
    Scenario(
        "deadlock of two who hold the same share",
        _two(("A", f"{_LOCK_CHUNK} KEY SHARE", DIGESTS[0]), ("B", f"{_LOCK_CHUNK} KEY SHARE", DIGESTS[0]),
             ("A", f"{_LOCK_CHUNK} UPDATE", DIGESTS[0]), ("B", f"{_LOCK_CHUNK} UPDATE", DIGESTS[0])),
        "A",
        deadlock=True,
    ),
    Scenario(
        "deadlock of inserts",
        _two(("A", _INSERT, NEW, 1), ("B", _INSERT, DIGESTS[3], 1),
             ("A", _INSERT, DIGESTS[3], 1), ("B", _INSERT, NEW, 1)),
        "A",
        deadlock=True,
    ),
    Scenario(
        "a repeatable read sees its snapshot",
        [("A", "begin"), ("B", "begin isolated"), ("B", _TOTAL), ("A", _ADD, 1), ("A", "commit"), ("B", _TOTAL),
         ("B", "commit")],
    ),
    Scenario(
        "a repeatable read must not change what was changed",
        [("A", "begin"), ("B", "begin isolated"), ("B", _TOTAL), ("A", _SET_STATE, DIGESTS[0], 4, 2), ("A", "commit"),
         ("B", _SET_STATE, DIGESTS[0], 3, 2), ("B", "roll back")],
    ),
    Scenario(
        "a repeatable read waits and fails",
        [("A", "begin"), ("B", "begin isolated"), ("A", _SET_STATE, DIGESTS[0], 4, 2),
         ("B", f"{_LOCK_CHUNK} KEY SHARE", DIGESTS[0]), ("B", f"{_LOCK_CHUNK} SHARE", DIGESTS[0]), ("A", "commit"),
         ("B", "roll back")],
        "B",
    ),
    Scenario(
        "a repeatable read waits for one that is rolled back",
        [("A", "begin"), ("B", "begin isolated"), ("A", _SET_STATE, DIGESTS[0], 4, 2),
         ("B", _SET_STATE, DIGESTS[0], 3, 2), ("A", "roll back"), ("B", "commit")],
        "B",
    ),
    Scenario(
        "a repeatable read meets a key that it cannot see",
        [("A", "begin"), ("B", "begin isolated"), ("B", _TOTAL), ("A", _INSERT, NEW, 1), ("A", "commit"),
         ("B", _NOTHING, NEW, 2), ("B", "roll back")],
    ),
    Scenario(
        "a repeatable read deletes what is gone",
        [("A", "begin"), ("B", "begin isolated"), ("B", _TOTAL),
         ("A", _DELETE, DIGESTS[0]), ("A", "commit"),
         ("B", _DELETE, DIGESTS[0]), ("B", "roll back")],
    ),
    Scenario(
        "a repeatable read must not remove files that were changed",
        [("A", "begin"), ("B", "begin isolated"), ("B", _TOTAL),
         ("A", "UPDATE snapshot_file SET size = 99 WHERE snapshot_id = 2"), ("A", "commit"),
         ("B", "DELETE FROM snapshot WHERE id = 2"), ("B", "roll back")],
    ),
    Scenario(
        "a repeatable read names a row that was changed",
        [("A", "begin"), ("B", "begin isolated"), ("B", _TOTAL),
         ("A", "UPDATE snapshot SET manifest = 'x' WHERE id = 2"), ("A", "commit"),
         ("B", _PIN, 2, SESSIONS[1]), ("B", "roll back")],
    ),
    Scenario(
        "two take different new backups",
        _two(("A", new_backups._TAKE), ("B", new_backups._TAKE)),
        schema="gc",
    ),
    Scenario(
        "advisory locks",
        _two(("A", "SELECT pg_advisory_xact_lock(hashtextextended($1, 1))", "x"),
             ("B", "SELECT pg_try_advisory_xact_lock(hashtextextended($1, 1)) AS got", "x"),
             ("B", "SELECT pg_try_advisory_xact_lock(hashtextextended($1, 1)) AS got", "y"),
             ("B", "SELECT pg_advisory_xact_lock(hashtextextended($1, 1))", "x")),
        "B",
        schema="gc",
    ),
]  # fmt: skip
"""The table."""
