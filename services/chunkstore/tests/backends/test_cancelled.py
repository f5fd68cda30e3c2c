"""A call that is cancelled while a thread works for it."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pbs_cloud.chunkstore.backends import local_files
from pbs_cloud.chunkstore.backends.local import LocalBackend


async def test_a_descriptor_stays_open_until_its_thread_is_done(
    tmp_path: Path, executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else its number could be another file's when the thread goes on writing."""
    writing, go_on = threading.Event(), threading.Event()
    original, written = local_files.write_all, []

    def slow(descriptor: int, parts: object) -> None:
        writing.set()
        go_on.wait(10)
        original(descriptor, parts)  # type: ignore[arg-type]
        written.append(parts)

    monkeypatch.setattr(local_files, "write_all", slow)
    made = LocalBackend(tmp_path, executor, mark="m")
    call = asyncio.create_task(made.put_file("vm/1/owner", b"root@pam\n"))
    await asyncio.to_thread(writing.wait, 10)
    call.cancel()
    done, _pending = await asyncio.wait([call], timeout=0.2)
    assert not done
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert written
    assert list((tmp_path / "vm" / "1").iterdir()) == []
    await made.close()
