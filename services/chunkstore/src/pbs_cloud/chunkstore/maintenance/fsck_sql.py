"""Statements of the comparison; `$1` is the datastore. Chunk states: 1 uploading, 2 live, 4 condemned."""

from __future__ import annotations

_EXPECTED = """
SELECT @snapshot || '/' || f.name AS key, f.stored_size AS size
FROM @snapshots JOIN snapshot_file f ON f.snapshot_id = s.id WHERE s.datastore_id = $1 AND s.state = 'committed'
UNION ALL
SELECT @snapshot || '/.protected', NULL FROM @snapshots
WHERE s.datastore_id = $1 AND s.state = 'committed' AND s.protected
UNION ALL
SELECT @folder || '/owner', NULL FROM @groups WHERE g.datastore_id = $1
UNION ALL
SELECT @folder || '/notes', NULL FROM @groups WHERE g.datastore_id = $1 AND g.notes <> ''
"""
# An empty notes file says the same as none: that is how a real PBS leaves it in a bucket.
_TOLERATED = "SELECT @folder || '/notes' FROM @groups WHERE g.datastore_id = $1 AND g.notes = ''"
_WORDS = {
    "@expected": _EXPECTED,
    "@tolerated": _TOLERATED,
    "@snapshots": "snapshot s JOIN backup_group g ON g.id = s.group_id JOIN namespace n ON n.id = g.namespace_id",
    "@groups": "backup_group g JOIN namespace n ON n.id = g.namespace_id",
    "@snapshot": """@folder || '/' ||
  to_char(to_timestamp(s.backup_time) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')""",
    "@folder": """CASE n.path WHEN '' THEN '' ELSE 'ns/' || replace(n.path, '/', '/ns/') || '/' END
  || g.backup_type || '/' || g.backup_id""",
}


def _sql(text: str) -> str:
    """Put in what the words stand for: files that must be there (size NULL: any), files that may, joins, paths."""
    for word, meaning in _WORDS.items():
        text = text.replace(word, meaning)
    return text


FILES_NOW = _sql("SELECT key, size FROM (@expected) AS expected WHERE key = ANY($2::text[]) ORDER BY key")
MANIFEST_NOW = _sql("""
SELECT s.manifest FROM @snapshots
WHERE s.datastore_id = $1 AND s.state = 'committed' AND @snapshot || '/index.json.blob' = $2
""")
UNSETTLED = _sql("""
SELECT @snapshot AS path FROM @snapshots
WHERE s.datastore_id = $1 AND s.state <> 'committed' AND (@snapshot) = ANY($2::text[])
""")
CHUNK_NOW = "SELECT state, size FROM chunk WHERE datastore_id = $1 AND digest = $2"
LIVE_CHUNKS = """
SELECT digest, location FROM chunk WHERE datastore_id = $1 AND digest > $2 AND state IN (2, 4) ORDER BY digest LIMIT $3
"""
INDEXES = _sql("""
SELECT f.snapshot_id, f.name, f.csum, f.size, f.chunk_count, @snapshot || '/' || f.name AS key
FROM @snapshots JOIN snapshot_file f ON f.snapshot_id = s.id
WHERE s.datastore_id = $1 AND s.state = 'committed' AND f.kind <> 'blob' AND (s.id, f.name) > ($2::bigint, $3::text)
ORDER BY f.snapshot_id, f.name LIMIT $4
""")
USAGE = """
SELECT
  (SELECT coalesce(sum(bytes), 0)::bigint FROM usage_counter WHERE datastore_id = $1 AND writer = 0)
    AS catalogue_counted,
  (SELECT coalesce(sum(f.stored_size), 0)::bigint FROM snapshot s JOIN snapshot_file f ON f.snapshot_id = s.id
    WHERE s.datastore_id = $1 AND s.state <> 'removing') AS catalogue_stored,
  (SELECT coalesce(sum(bytes), 0)::bigint FROM usage_counter WHERE datastore_id = $1 AND writer = 1) AS chunks_counted,
  (SELECT coalesce(sum(size), 0)::bigint FROM chunk WHERE datastore_id = $1 AND state <> 1) AS chunks_stored
"""

DIFFERENCES = {
    "chunk_without_object": _sql("""
SELECT c.digest FROM chunk c WHERE c.datastore_id = $1 AND c.state IN (2, 4)
AND NOT EXISTS (SELECT 1 FROM staged_chunk o WHERE o.digest = c.digest) ORDER BY c.digest LIMIT 10000
"""),
    "chunk_of_other_size": _sql("""
SELECT c.digest FROM chunk c JOIN staged_chunk o ON o.digest = c.digest
WHERE c.datastore_id = $1 AND c.state IN (2, 4) AND c.size <> o.size ORDER BY c.digest LIMIT 10000
"""),
    "object_without_chunk": _sql("""
SELECT o.digest FROM staged_chunk o
WHERE NOT EXISTS (SELECT 1 FROM chunk c WHERE c.datastore_id = $1 AND c.digest = o.digest)
ORDER BY o.digest LIMIT 10000
"""),
    "digest_without_chunk": _sql("""
SELECT d.digest FROM staged_digest d
WHERE NOT EXISTS (SELECT 1 FROM chunk c WHERE c.datastore_id = $1 AND c.digest = d.digest AND c.state = 2)
ORDER BY d.digest LIMIT 10000
"""),
    "file_without_object": _sql("""
SELECT e.key FROM (@expected) AS e
WHERE NOT EXISTS (SELECT 1 FROM staged_file o WHERE o.key = e.key) ORDER BY e.key LIMIT 10000
"""),
    "file_of_other_size": _sql("""
SELECT e.key FROM (@expected) AS e JOIN staged_file o ON o.key = e.key
WHERE e.size <> o.size ORDER BY e.key LIMIT 10000
"""),
    "object_without_file": _sql("""
SELECT o.key FROM staged_file o WHERE NOT EXISTS (SELECT 1 FROM (@expected) AS e WHERE e.key = o.key)
AND o.key NOT IN (@tolerated) ORDER BY o.key LIMIT 10000
"""),
}
"""What the staged listings and the rows do not agree about."""
