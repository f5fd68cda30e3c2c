"""The whole product as a test sees it: started by its command line, reached through its public port."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from testkit.servers import free_ports, temporary_folder, wait_until

READY_SECONDS = 60.0
_OWN_VARIABLES = re.compile(r"(PBS|AWS)_")


class ProductServer:
    """`pbs-cloud up` on a free port with a data folder of its own (local storage unless `env` names a bucket)."""

    def __init__(self, env: dict[str, str] | None = None, *, data_dir: Path | None = None) -> None:
        self._own_folder = data_dir is None
        self.data_dir = data_dir or temporary_folder("product")
        self.log = self.data_dir / "product.log"
        self.token_file = self.data_dir / "root-token"
        self.port = free_ports(1)[0]
        self._env = {
            "PBS_LISTEN_ADDR": f"127.0.0.1:{self.port}",
            "PBS_DATA_DIR": str(self.data_dir / "data"),
            "PBS_ROOT_TOKEN_FILE": str(self.token_file),
            "PBS_GATEWAY_WORKERS": "2",
            **(env or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Base of the REST API, without a slash at the end."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def token_secret(self) -> str:
        """Secret of `root@pam!root-token`."""
        return self.token_file.read_text().strip()

    @property
    def token_id(self) -> str:
        """The first token."""
        return "root@pam!root-token"

    @property
    def authorization(self) -> str:
        """Value of the Authorization header with the root token."""
        return f"PBSAPIToken={self.token_id}:{self.token_secret}"

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the server's certificate, hex pairs with colons."""
        import hashlib

        pem = (self.data_dir / "data" / "tls" / "cert.pem").read_text()
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).digest().hex(":")

    @property
    def repository(self) -> str:
        """Repository for the stock client, datastore `default`."""
        return f"{self.token_id}@127.0.0.1:{self.port}:default"

    @property
    def supervisor_pid(self) -> int:
        """Process id of `pbs-cloud up`."""
        assert self._process is not None
        return self._process.pid

    def start(self, *, wait: bool = True) -> ProductServer:
        """Start it, also again after `stop` or `kill_supervisor`."""
        inherited = {name: value for name, value in os.environ.items() if not _OWN_VARIABLES.match(name)}
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pbs_cloud.server", "up"], stdin=subprocess.DEVNULL,
                stdout=output, stderr=output, env={**inherited, **self._env}, start_new_session=True,
            )  # fmt: skip
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self, seconds: float = READY_SECONDS) -> None:
        """Return once `/ready` answers 200 and the token is there; AssertionError with the log's end otherwise."""
        try:
            wait_until(self._is_up, seconds=seconds, what="/ready")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log_tail()}") from None

    def is_ready(self) -> bool:
        """Whether `/ready` answers 200 right now."""
        return self.status("/ready") == 200

    def status(self, path: str) -> int:
        """Status code of an unauthenticated GET; 0 when there is no answer."""
        context = ssl._create_unverified_context()
        try:
            with urllib.request.urlopen(f"{self.url}{path}", timeout=5, context=context) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def pid(self, name: str) -> int:
        """Process id of a process: `auth`, `chunks`, `catalogue`, `gc`, `billing`, `gateway-front-0`, `postgres` …"""
        for line in (self.data_dir / "data" / "run" / "processes").read_text().splitlines():
            found, _, pid = line.partition(" ")
            if found == name:
                return int(pid)
        raise KeyError(name)

    def pids(self) -> dict[str, int]:
        """Process ids of all processes of the product."""
        lines = (self.data_dir / "data" / "run" / "processes").read_text().splitlines()
        return {line.partition(" ")[0]: int(line.partition(" ")[2]) for line in lines}

    def kill(self, name: str) -> None:
        """kill -9 of one process; the supervisor starts it again."""
        os.kill(self.pid(name), signal.SIGKILL)

    def wait_restarted(self, name: str, old_pid: int, seconds: float = 15.0) -> None:
        """Return once the named process runs under another pid, and it and the product are ready."""
        wait_until(lambda: self.pids().get(name) not in (None, old_pid), seconds=seconds, what=f"restart of {name}")
        wait_until(lambda: self.is_process_ready(name), seconds=seconds, what=f"readiness of {name}")
        self.wait_ready(seconds)

    def is_process_ready(self, name: str) -> bool:
        """Whether one service process says at its own socket that it is ready; true for the embedded servers."""
        if name in ("postgres", "nats"):
            return True
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(2)
            try:
                connection.connect(str(self.data_dir / "data" / "run" / f"health-{name}.sock"))
                connection.sendall(b"GET /ready HTTP/1.1\r\n\r\n")
                return connection.recv(100).startswith(b"HTTP/1.1 200 ")
            except OSError:
                return False

    def kill_supervisor(self) -> None:
        """kill -9 of `pbs-cloud up` itself; everything else has to follow by itself."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self, seconds: float = 30.0) -> int:
        """Ctrl-C; the exit code."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise

    def close(self) -> None:
        """Stop and remove everything."""
        try:
            if self._process is not None:
                self.stop()
        finally:
            if self._own_folder:
                shutil.rmtree(self.data_dir, ignore_errors=True)

    def log_tail(self, lines: int = 60) -> str:
        """The end of everything that the product wrote."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _is_up(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"the product ended with {self._process.returncode}")
        if not (self.is_ready() and self.token_file.exists()):
            time.sleep(0.05)
            return False
        return True
