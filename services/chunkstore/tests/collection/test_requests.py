"""What a run asks of a bucket."""

from __future__ import annotations

from typing import Any

import obstore
import pytest
from testkit.collection_world import CollectionWorld, some_chunks


async def test_a_run_without_orphans_lists_no_bucket(
    s3_world: CollectionWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Listing costs money and grows with the bucket; only the search for orphans does it (formats 9.9, step F)."""
    world = s3_world
    kept, old = some_chunks(2)
    first = await world.backup([kept, old])
    await world.backup([kept])
    await world.forget(first)
    listed: list[Any] = []
    original = obstore.list

    def list_and_tell(*args: Any, **options: Any) -> Any:
        listed.append(args)
        return original(*args, **options)

    monkeypatch.setattr(obstore, "list", list_and_tell)
    status = await world.collect()
    assert status["removed-chunks"] == 1
    assert listed == []
    await world.collect_orphans()
    assert listed, "the test would not notice"
