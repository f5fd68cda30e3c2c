"""The data folder: its layout, its lock, and who may pass through it."""

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pbs_cloud.runtime.errors import ConfigError
from pbs_cloud.runtime.settings import Settings

ALL = "all"


@dataclass(frozen=True, slots=True)
class DataDir:
    """Folders below `PBS_DATA_DIR`; `lock` is held as long as this object lives. `instance`: `all`, or one service."""

    root: Path
    run: Path
    instance: str
    lock: IO[str]

    @property
    def postgres(self) -> Path:
        """Data of the embedded database."""
        return self.root / "postgres"

    @property
    def postgres_socket(self) -> Path:
        """Folder of its socket."""
        return self.run / "pg"

    @property
    def nats(self) -> Path:
        """Data of the embedded event bus."""
        return self.root / "nats"

    @property
    def tls(self) -> Path:
        """The self-signed certificate."""
        return self.root / "tls"

    @property
    def logs(self) -> Path:
        """Output of the embedded servers."""
        return self.root / "logs"

    @property
    def unshown_secret(self) -> Path:
        """The root token's secret between its creation and its announcement."""
        return self.root / "unshown-root-token"

    @property
    def metrics(self) -> Path:
        """Metric files of the running processes; emptied at each start."""
        return self.run / f"metrics-{self.instance}"

    @property
    def processes(self) -> Path:
        """Lines `name pid` of the running processes."""
        return self.run / ("processes" if self.instance == ALL else f"processes-{self.instance}")


def open_data_dir(settings: Settings, instance: str = ALL) -> DataDir:
    """Create what is missing and take the lock of this instance (`all`, or the name of one service).

    Raises:
        ConfigError: the folder cannot be used, or another instance uses it.
    """
    root, run = settings.data_dir, settings.run_path
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = _take_lock(root, ".pbs-cloud.lock" if instance == ALL else f".pbs-cloud-{instance}.lock")
        _own_folder(root)
        _own_folder(run)
        for name in ("logs", "tls"):
            (root / name).mkdir(exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConfigError(f"PBS_DATA_DIR: cannot use {root}: {error.strerror}") from error
    return DataDir(root, run, instance, lock)


def _take_lock(root: Path, name: str) -> IO[str]:
    path = root / name
    handle = path.open("a+")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.seek(0)
        owner = handle.read().strip() or "unknown"
        handle.close()
        raise ConfigError(
            f"PBS_DATA_DIR: another pbs-cloud (process {owner}) is using {root}; stop it or choose another folder"
        ) from None
    path.chmod(0o600)
    handle.truncate(0)
    handle.write(f"{os.getpid()}\n")
    handle.flush()
    return handle


def _own_folder(path: Path) -> None:
    """Ours alone to write; passable, since the database's user has its own closed folder below."""
    path.mkdir(parents=True, exist_ok=True, mode=0o711)
    if path.stat().st_uid != os.geteuid():
        raise ConfigError(f"PBS_DATA_DIR: {path} belongs to another user")
    path.chmod(0o711)
