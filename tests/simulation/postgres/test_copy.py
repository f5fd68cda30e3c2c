"""COPY in binary format gives the same bytes as the real server."""

from __future__ import annotations

from typing import Any

import pytest
from simulation.postgres.both import Clock, ModelSession, RealSession
from simulation.postgres.content import fill
from simulation.postgres.server import clear
from testkit.simulator.postgres import SimPostgres


@pytest.mark.parametrize(
    "text",
    [
        "SELECT digest, state, touch_epoch, size FROM chunk WHERE datastore_id = $1 ORDER BY digest LIMIT 2",
        "SELECT digest, condemned_at, owner_session, location, size > 1 AS large FROM chunk WHERE datastore_id = $1"
        " ORDER BY digest",
        "SELECT digest FROM chunk WHERE datastore_id = $1 AND state = 77",
    ],
)
async def test_same_bytes(real_databases: dict[str, str], text: str) -> None:
    real = await RealSession.connect(real_databases["chunkstore"], "chunkstore")
    await clear(real, "chunkstore")
    answers: list[Any] = []
    for session in (real, ModelSession(SimPostgres(Clock()), "chunkstore")):
        connection = await session.begin("*")
        await fill(connection, "chunkstore")
        data: list[bytes] = []

        async def take(piece: bytes, into: list[bytes] = data) -> None:
            into.append(bytes(piece))

        answers.append((await connection.copy_from_query(text, 1, output=take, format="binary"), data))
        await session.end(commit=False)
    await real.connection.close()
    (tag, pieces), (model_tag, model_pieces) = answers
    assert (model_tag, b"".join(model_pieces)) == (tag, b"".join(pieces))
