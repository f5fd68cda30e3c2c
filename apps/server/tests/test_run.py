"""One service alone, as Kubernetes runs it: external database and event bus, health on a port of its own."""

import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import asyncpg
from testkit.servers import NatsServer, PostgresServer, free_ports, temporary_folder, wait_until

from pbs_cloud.runtime.database_urls import SERVICES_WITH_SCHEMA
from pbs_cloud.runtime.revisions import head_revision


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def start(*arguments: str, log: Path, **env: str) -> "subprocess.Popen[bytes]":
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PBS_", "AWS_"))}
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "pbs_cloud.server", *arguments],
            env={**inherited, **env}, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip


async def test_migrate_then_run_one_service(postgres: PostgresServer, nats: NatsServer) -> None:
    folder = temporary_folder("run")
    log = folder / "log"
    url = await postgres.new_database()
    port = free_ports(1)[0]
    env = {
        "PBS_DATA_DIR": str(folder),
        "PBS_DATABASE_URL": url,
        "PBS_NATS_URL": nats.url,
        "PBS_HEALTH_ADDR": f"127.0.0.1:{port}",
    }
    service = start("run", "auth", log=log, **env)
    try:
        wait_until(lambda: get(port, "/health")[0] == 200, seconds=60, what="/health")
        assert get(port, "/ready") == (503, '{"status": "not_ready", "reason": "auth"}'), "waits for its schema"
        for _ in range(2):
            assert start("migrate", log=log, **env).wait(60) == 0
        connection = await asyncpg.connect(url)
        for name in SERVICES_WITH_SCHEMA:
            revision = await connection.fetchval(f"SELECT version_num FROM {name}.alembic_version")
            assert revision == head_revision(name)
        await connection.close()
        wait_until(lambda: get(port, "/ready")[0] == 200, seconds=60, what="/ready")
        assert "pbs_grpc_request" in get(port, "/metrics")[1]
        assert (folder / "run" / "auth.sock").stat().st_mode & 0o777 == 0o600
    except BaseException:
        sys.stderr.write(log.read_text())
        raise
    finally:
        service.send_signal(signal.SIGTERM)
        assert service.wait(30) == 0
        shutil.rmtree(folder, ignore_errors=True)
