"""A real S3 server (SeaweedFS) on loopback, for tests.

`with running_s3() as server: …` takes 2 s to start, keeps its files in a temporary folder and leaves nothing behind.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

ACCESS_KEY = "testkey"
SECRET_KEY = "testsecret"
REGION = "us-east-1"
_READY_SECONDS = 60.0


@dataclass
class S3Server:
    """Where it is and how to log in. `stop` and `start` simulate an outage; the data stays."""

    endpoint: str
    bucket: str
    access_key: str = ACCESS_KEY
    secret_key: str = SECRET_KEY
    region: str = REGION
    _command: list[str] = field(default_factory=list, repr=False)
    _folder: Path = Path()
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which the product uses it."""
        return {
            "PBS_S3_BUCKET": self.bucket,
            "PBS_S3_ENDPOINT": self.endpoint,
            "PBS_S3_REGION": self.region,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
        }

    def client(self) -> object:
        """A boto3 client, to look at the bucket past the product."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=self.region,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
        )

    def start(self, *, wait: bool = True) -> None:
        """Start (again) and wait until a PUT succeeds."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, cwd=self._folder)
        if wait:
            self._wait()

    def stop(self) -> None:
        """End the server; whoever uses it sees refused connections."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._process = None

    def _wait(self) -> None:
        deadline, client = time.monotonic() + _READY_SECONDS, self.client()
        while True:
            if self._process is not None and self._process.poll() is not None:
                raise RuntimeError((self._folder / "log").read_text()[-2000:])
            try:
                client.put_object(Bucket=self.bucket, Key="ready", Body=b"")  # type: ignore[attr-defined]
                client.delete_object(Bucket=self.bucket, Key="ready")  # type: ignore[attr-defined]
                return
            except (BotoCoreError, ClientError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)


@contextmanager
def running_s3(bucket: str = "pbs-test") -> Iterator[S3Server]:
    """A server with one empty bucket, for as long as the block lasts."""
    folder = Path(tempfile.mkdtemp(prefix="pbs-s3-"))
    identity = {
        "name": "test",
        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    (folder / "data").mkdir()
    s3, master, volume, filer, admin = _free_ports(5)
    command = [
        str(Path(sys.executable).parent / "weed"), "mini", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        f"-dir={folder / 'data'}", "-master.telemetry=false", f"-s3.config={folder / 's3.json'}", f"-s3.port={s3}",
        f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}", f"-admin.port={admin}",
        "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.autoCreateBucket=false", "-webdav=false", "-admin.ui=false",
        f"-admin.password={SECRET_KEY}", f"-bucket={bucket}",
    ]  # fmt: skip
    server = S3Server(f"http://127.0.0.1:{s3}", bucket, _command=command, _folder=folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _free_ports(count: int) -> list[int]:
    """Ports that are free now together with those 10000 above them (gRPC); below the range of outgoing connections."""
    found: list[int] = []
    candidate = 10_000 + (os.getpid() * 37) % 8_000
    while len(found) < count:
        candidate = candidate + 1 if candidate < 20_000 else 10_000
        if candidate not in found and _is_free(candidate) and _is_free(candidate + 10_000):
            found.append(candidate)
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
