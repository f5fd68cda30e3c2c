"""R19 of formats 9.10: a group moves while a run reads its indexes."""

from collections.abc import AsyncIterator

import pytest
from testkit.collection_world import CollectionWorld, some_chunks

from pbs_cloud.chunkstore.catalogue.names import Place


@pytest.mark.parametrize("late", [False, True])
async def test_r19_an_index_that_moves_before_or_while_it_is_read(
    any_world: CollectionWorld, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    """It is the same index at another place: its chunks stay."""
    world = any_world
    chunks = some_chunks(3)
    backup = await world.backup(chunks)
    services = world.services
    name, group = backup.group.store, backup.group
    await services.namespaces.create(world.ctx, name, "there")
    backend = world.parts.backends._opened[world.datastore]
    original, moves = backend.read_file, 0

    async def read_while_it_moves(key: str) -> AsyncIterator[bytes]:
        nonlocal moves
        if not moves:
            moves = 1
            source = Place.of(group.ns, group.backup_type, group.backup_id)
            target = Place.of("there", group.backup_type, group.backup_id)
            if late:
                yield b"\x00"
            await services.moves.move(world.ctx, name, source, target, merge=True)
        async for piece in original(key):
            yield piece

    monkeypatch.setattr(backend, "read_file", read_while_it_moves)
    run = await world.begin()
    digests, _, _ = await world.mark(run)
    assert moves == 1
    assert digests == {chunk.digest for chunk in chunks}
    assert (await world.condemn(run, digests)).condemned == 0
    monkeypatch.undo()
    await world.end(run)
    await world.collect(sweeps=False)
    assert [await world.state(chunk) for chunk in chunks] == [2, 2, 2]
