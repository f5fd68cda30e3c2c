"""Whether the processes of one supervisor serve, asked at their health sockets."""

import asyncio

from pbs_cloud.runtime.health import fetch
from pbs_cloud.runtime.settings import Settings

_OK = 200


class Readiness:
    """Which of the named processes are not ready."""

    def __init__(self, settings: Settings, names: list[str]) -> None:
        self._settings = settings
        self._names = names

    async def missing(self) -> list[str]:
        """Names of processes that are not ready right now."""
        answers = await asyncio.gather(*(self._is_ready(name) for name in self._names))
        return [name for name, ready in zip(self._names, answers, strict=True) if not ready]

    async def wait(self, poll_seconds: float = 0.1) -> None:
        """Return once all are ready at the same time."""
        missing = await self.missing()
        while missing:
            await asyncio.sleep(poll_seconds)
            missing = await self.missing()

    async def _is_ready(self, name: str) -> bool:
        try:
            status, _ = await fetch(self._settings.run_path / f"health-{name}.sock", "/ready")
        except (OSError, TimeoutError):
            return False
        return status == _OK
