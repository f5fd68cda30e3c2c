"""Everything that PBS stores or sends, as pure functions and small classes: no IO, no asyncio.

| module | what it holds |
|---|---|
| ``blob``, ``zstd_frames``, ``digest`` | the container of chunks and blobs, chunk digests |
| ``index``, ``index_builder``, ``known_chunks`` | reading and building fixed and dynamic indexes |
| ``manifest`` | ``index.json.blob`` |
| ``names``, ``identity``, ``upid`` | grammars of names, users and task ids |
| ``layout`` | paths in a datastore directory, keys in a bucket |
| ``catalog``, ``catalog_writer``, ``catalog_listing`` | the catalog file and the listing API |
| ``pxar``, ``pxar_reader``, ``siphash`` | archives, version 1 and split |
| ``prune``, ``calendar``, ``gc_status`` | retention, schedules, collection arithmetic |

A decoder raises :class:`pbs_cloud.formats.errors.FormatError` on bad input and nothing else.
"""
