"""Real servers for tests: Postgres, NATS and SeaweedFS from wheels, and the whole product.

Plain classes, usable from benchmarks too; `testkit.fixtures` makes pytest fixtures of them. All of them die with the
process that started them, also after kill -9.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg

from pbs_cloud.runtime import database_urls
from pbs_cloud.runtime.migrations import create_roles_and_schemas, migrate
from pbs_cloud.server.nats import EmbeddedNats
from pbs_cloud.server.postgres import EmbeddedPostgres
from pbs_cloud.server.spawn import LIFE_LINE, plain_environment, tied

_PLENTY = 8 << 30
FAST_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "log_min_duration_statement": "-1",
}


def _base_folder() -> Path:
    shared = Path("/dev/shm")
    roomy = os.access(shared, os.W_OK) and shutil.disk_usage(shared).free > _PLENTY
    return shared if roomy else Path(tempfile.gettempdir())


def temporary_folder(name: str) -> Path:
    """A new folder with a short path (unix sockets) that other users may pass through (Postgres under root).

    It is in memory where that is possible: a PBS datastore has 65,536 directories, which a disk takes long to make
    and remove. It goes with this process; what a killed one left behind is removed.
    """
    base = _base_folder()
    for stale in base.glob("pbs-*-*-*"):
        if stale.is_dir() and not Path(f"/proc/{stale.name.split('-')[2]}").exists() and Path("/proc/self").exists():
            shutil.rmtree(stale, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"pbs-{name}-{os.getpid()}-", dir=base))
    folder.chmod(0o711)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def free_ports(count: int, *, with_offset: int = 0) -> list[int]:
    """Distinct free ports; with `with_offset` the port that many higher is free as well."""
    found: list[int] = []
    while len(found) < count:
        with socket.socket() as probe, socket.socket() as second:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
            if port in found or port + with_offset > 65_535:
                continue
            if with_offset:
                try:
                    second.bind(("127.0.0.1", port + with_offset))
                except OSError:
                    continue
            found.append(port)
    return found


def wait_until(condition: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Poll `condition`; AssertionError naming `what` when it does not come true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.02)


def start_program(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    """Start a command made by `tied`, its output appended to `log`."""
    with log.open("ab") as output:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/",
            start_new_session=True, pass_fds=LIFE_LINE.inherited, env=plain_environment(),
        )  # fmt: skip


class PostgresServer:
    """A throw-away Postgres (survives kill -9, a power failure only if `durable`); starts in about 0.7 s."""

    def __init__(self, *, durable: bool = False) -> None:
        self.folder = temporary_folder("postgres")
        self.log = self.folder / "log" / "postgres.log"
        extra = None if durable else FAST_SETTINGS
        self._embedded = EmbeddedPostgres(self.folder / "data", self.folder / "socket", self.log, extra_settings=extra)
        self._process: subprocess.Popen[bytes] | None = None
        self._templates: dict[str, str] = {}

    @property
    def url(self) -> str:
        """Address as administrator, database `postgres`."""
        return self._embedded.url

    def start(self) -> PostgresServer:
        """Start and wait until it answers; also after `kill`."""
        asyncio.run(self._embedded.prepare())
        self.start_only()
        asyncio.run(asyncio.wait_for(self._embedded.wait(), 30))
        return self

    def start_only(self) -> None:
        """Start the process and return at once."""
        self._process = start_program(self._embedded.command(), self.log)

    def kill(self) -> None:
        """kill -9 of the postmaster; waits until its children are gone too."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Stop and remove everything."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    async def new_database(self, template: str = "template1") -> str:
        """A fresh database, copied from `template`: its URL as administrator."""
        name = f"test_{secrets.token_hex(6)}"
        connection = await asyncpg.connect(self.url)
        try:
            await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        finally:
            await connection.close()
        return self.url.replace("/postgres?", f"/{name}?")

    async def service_database(self, service: str) -> str:
        """A fresh database with the migrated schema of `service`: the URL with which the service logs in."""
        if service not in self._templates:
            url = await self.new_database()
            await create_roles_and_schemas(url)
            await migrate(database_urls.for_service(url, service), service)
            self._templates[service] = url.partition("/test_")[2].partition("?")[0]
        admin = await self.new_database(f"test_{self._templates[service]}")
        return database_urls.for_service(admin, service)


class NatsServer:
    """A throw-away NATS with JetStream; starts in 40 ms. Keeps its address and its data over `kill` and `start`."""

    def __init__(self) -> None:
        self.folder = temporary_folder("nats")
        self.log = self.folder / "nats.log"
        self._embedded = EmbeddedNats(self.folder / "data", self.log)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Address with credentials."""
        return self._embedded.url

    def start(self) -> NatsServer:
        """Start and wait until it accepts connections."""
        self._embedded.prepare()
        self._process = start_program(self._embedded.command(), self.log)
        port = int(self.url.rpartition(":")[2])
        wait_until(lambda: _accepts(port), seconds=10, what="NATS")
        return self

    def kill(self, *, lose_data: bool = False) -> None:
        """kill -9; with `lose_data` the next start knows no stream."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        if lose_data:
            shutil.rmtree(self.folder / "data")

    def stop(self) -> None:
        """Stop and remove everything."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class S3Server:
    """SeaweedFS as an object store; starts in 2 to 16 s. Keeps address and data over `kill` and `start`."""

    region = "us-east-1"
    access_key = "testaccess"
    secret_key = "testsecretkey"

    def __init__(self) -> None:
        self.folder = temporary_folder("s3")
        self.log = self.folder / "weed.log"
        self._ports = free_ports(5, with_offset=10_000)
        self._process: subprocess.Popen[bytes] | None = None
        (self.folder / "data").mkdir()
        identity = {
            "name": "test",
            "credentials": [{"accessKey": self.access_key, "secretKey": self.secret_key}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        (self.folder / "s3.json").write_text(json.dumps({"identities": [identity]}))

    @property
    def endpoint(self) -> str:
        """URL of the S3 API."""
        return f"http://127.0.0.1:{self._ports[0]}"

    def environment(self, bucket: str) -> dict[str, str]:
        """The product's settings for this store."""
        return {
            "PBS_S3_BUCKET": bucket,
            "PBS_S3_ENDPOINT": self.endpoint,
            "PBS_S3_REGION": self.region,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
        }

    def client(self) -> Any:
        """A boto3 client."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=self.region,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(signature_version="s3v4", retries={"max_attempts": 1}, connect_timeout=2, read_timeout=20),
        )

    def start(self) -> S3Server:
        """Start and wait until an object can be put."""
        weed = Path(sys.executable).with_name("weed")
        s3, master, volume, filer, admin = self._ports
        command = [
            str(weed), "mini", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={self.folder}/data",
            "-master.telemetry=false", f"-s3.config={self.folder}/s3.json", f"-s3.port={s3}", f"-master.port={master}",
            f"-volume.port={volume}", f"-filer.port={filer}", f"-admin.port={admin}", "-s3.port.iceberg=0",
            "-s3.port.lance=0", "-s3.autoCreateBucket=false", "-webdav=false", "-admin.ui=false",
            "-admin.password=unused", "-bucket=ready", "-volume.max=2000",  # each bucket has volumes of its own
        ]  # fmt: skip
        self._process = start_program(tied(command, death_signal=signal.SIGKILL), self.log)
        wait_until(self._puts, seconds=60, what="SeaweedFS")
        return self

    def new_bucket(self) -> str:
        """A fresh bucket: its name."""
        name = f"test-{secrets.token_hex(6)}"
        self.client().create_bucket(Bucket=name)
        return name

    def kill(self) -> None:
        """kill -9."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        """Stop answering (SIGSTOP) without closing connections; `resume` goes on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Go on after `pause`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Stop and remove everything."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _puts(self) -> bool:
        try:
            self.client().put_object(Bucket="ready", Key="probe", Body=b"x")
        except Exception:
            time.sleep(0.1)
            return False
        return True
