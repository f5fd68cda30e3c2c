"""Starting processes that cannot outlive this one."""

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from pbs_cloud.server import child

PIPE_VARIABLE = "PBS_SUPERVISOR_PIPE"


@dataclass(frozen=True, slots=True)
class RunAs:
    """Another user for a child. `keep_search`: it may pass through folders that only root may enter."""

    uid: int
    gid: int
    keep_search: bool = False


class LifeLine:
    """The pipe that tells children on systems without a death signal that this process is gone."""

    def __init__(self) -> None:
        self.read_end: int | None = None
        if not child.IS_LINUX:
            self.read_end, self._write_end = os.pipe()

    @property
    def inherited(self) -> tuple[int, ...]:
        """Descriptors that a child needs."""
        return () if self.read_end is None else (self.read_end,)


LIFE_LINE = LifeLine()


def tied(command: list[str], *, death_signal: int, run_as: RunAs | None = None) -> list[str]:
    """`command`, changed so that it gets `death_signal` when the process that starts it dies."""
    options = {
        "signal": death_signal,
        "user": [run_as.uid, run_as.gid] if run_as else None,
        "keep_search": bool(run_as and run_as.keep_search),
        "pipe": LIFE_LINE.read_end,
    }
    return [sys.executable, "-I", "-S", child.__file__, json.dumps(options), *command]


async def spawn_program(command: list[str], *, output: Path) -> asyncio.subprocess.Process:
    """Start a foreign program in a session of its own, its output appended to a file (a pipe could fill up)."""
    with output.open("ab") as log:
        return await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
            cwd="/", start_new_session=True, pass_fds=LIFE_LINE.inherited, env=plain_environment(),
        )  # fmt: skip


async def spawn_python(module: str, *arguments: str, env: dict[str, str]) -> asyncio.subprocess.Process:
    """Start a module of this installation in a session of its own (Ctrl-C reaches only the supervisor)."""
    if LIFE_LINE.read_end is not None:
        env = {**env, PIPE_VARIABLE: str(LIFE_LINE.read_end)}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments,
        stdin=asyncio.subprocess.DEVNULL, env=env, start_new_session=True, pass_fds=LIFE_LINE.inherited,
    )  # fmt: skip


def plain_environment() -> dict[str, str]:
    """Foreign programs see no setting and no credential."""
    kept = ("PATH", "HOME", "TMPDIR", "TZ", "LD_LIBRARY_PATH")
    return {"LC_ALL": "C", **{name: os.environ[name] for name in kept if name in os.environ}}
