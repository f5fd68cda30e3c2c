"""The commands against the running product."""

from __future__ import annotations

import asyncio
import base64
import hmac
import os
import re
import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from testkit.client import Backup, Rest, Snapshot
from testkit.product import ProductServer
from testkit.pxar_writer import encode_catalog, encode_v1, tree_from_dict
from testkit.sources import make_image
from testkit.world import endpoint_of, fresh, root_token

from pbs_cloud.cli.config import config_path, load_config
from pbs_cloud.cli.follow import short_id
from pbs_cloud.cli.groups.second_factors import new_uri

from .conftest import Run

pytestmark = [pytest.mark.xdist_group("cli"), pytest.mark.timeout(240)]
FIRST, SECOND = "host/web-01/2026-03-01T02:00:05Z", "host/web-01/2026-03-02T02:00:05Z"
VM = "vm/100/2026-03-02T02:00:05Z"
TREE = {"etc": {"hosts": b"127.0.0.1 localhost\n", "motd": b"hello\n"}, "data": bytes(range(256)) * 100}


@pytest.fixture(scope="module")
def store(product: ProductServer) -> Iterator[str]:
    """A datastore with three snapshots."""
    name = fresh("cli")

    async def fill() -> None:
        endpoint, token = endpoint_of(product), root_token(product)
        rest = Rest(endpoint, token)
        await rest.call("POST", "/config/datastore", {"name": name, "path": f"/x/{name}"})
        await rest.close()
        tree = tree_from_dict(TREE)
        for moment in (1772330405, 1772416805):
            async with await Backup.open(endpoint, token, Snapshot(name, "web-01", moment)) as backup:
                await backup.directory("root", encode_v1(tree), encode_catalog({"root.pxar.didx": tree}))
                await backup.blob("etc.conf.blob", b"name = value\n")
                await backup.finish()
        async with await Backup.open(endpoint, token, Snapshot(name, "100", 1772416805, "vm")) as backup:
            await backup.image("drive", bytes(make_image(1)))
            await backup.finish()

    asyncio.run(fill())
    yield name


def test_the_server(cli: Run, product: ProductServer) -> None:
    assert cli("ping").out == f"{product.url} answers\n"
    assert re.match(r"4\.\d+\.\d+ \(", cli("version").out)
    assert cli("version", "--output-format", "json").data["version"] == "4.2"
    assert cli("--output-format", "json", "ping").data == {"pong": True}
    assert "Running tasks" in cli("status").out
    assert "localhost" in cli("nodes").out
    assert product.fingerprint in cli("node", "status").out.replace("\n", "")
    for command in ("datastores", "datastore-usage", "tasks", "permissions", "usage", "compliance", "metrics"):
        assert cli(command).code == 0, command
    for part in ("list", "load", "identity", "subscription", "time", "config", "dns", "network", "services", "disks"):
        assert cli("node", part).code == 0, part
    for part in ("certificates", "updates", "packages", "repositories", "syslog", "journal"):
        assert cli("node", part).code == 0, part
    assert "pbs_requests_total" in cli("metrics", "--prometheus").out
    assert cli("metrics", "--since", "10min", "--output-format", "json").code == 0


def test_snapshots(cli: Run, store: str) -> None:
    listed = cli("snapshot", "list", store)
    assert [line.split()[0] for line in listed.out.splitlines()] == ["Snapshot", FIRST, SECOND, VM]
    assert len(cli("snapshot", "list", store, "vm/100", "--output-format", "json").data) == 1
    assert "drive.img.fidx" in cli("snapshot", "files", store, VM).out
    assert cli("snapshot", "notes", store, FIRST, "two\nlines").code == 0
    assert cli("snapshot", "notes", store, FIRST).out == "two\nlines\n"
    assert cli("snapshot", "notes", store, FIRST, "-", stdin="piped").code == 0
    assert cli("snapshot", "notes", store, FIRST, "--output-format", "json").data == "piped"
    assert cli("snapshot", "protect", store, FIRST).out == f"{FIRST} is protected\n"
    assert cli("snapshot", "protected", store, FIRST, "--output-format", "json").data is True
    refused = cli("snapshot", "forget", store, FIRST, "--yes")
    assert (refused.code, "protected" in refused.err, "at: DELETE" in refused.err) == (1, True, True)
    assert cli("snapshot", "unprotect", store, FIRST).code == 0
    asked = cli("snapshot", "forget", store, FIRST)
    assert (asked.code, "--yes" in asked.err) == (2, True)
    Path("log").write_text("done\n")
    assert cli("snapshot", "upload-log", store, SECOND, "log").code == 0
    assert cli("snapshot", "download", store, SECOND, "client.log.blob", "-o", "-").out == "done\n"


def test_files(cli: Run, store: str) -> None:
    assert "root.pxar.didx" in cli("snapshot", "catalog", store, SECOND).out
    inside = cli("snapshot", "catalog", store, SECOND, "root.pxar.didx/etc", "--output-format", "json").data
    assert [entry["text"] for entry in inside] == ["hosts", "motd"]
    assert (
        cli("snapshot", "restore", store, SECOND, "root.pxar.didx/etc/hosts", "-o", "-").out == "127.0.0.1 localhost\n"
    )
    assert cli("snapshot", "restore", store, SECOND, "root.pxar.didx/etc").code == 0
    assert zipfile.ZipFile("etc.zip").read("etc/motd") == b"hello\n"
    assert cli("snapshot", "restore", store, SECOND, "root.pxar.didx/etc", "--tar").code == 0
    assert Path("etc.tar.zst").read_bytes()[:4] == b"\x28\xb5\x2f\xfd"
    assert cli("snapshot", "download", store, VM, "drive.img.fidx").code == 0
    assert Path("drive.img").read_bytes() == bytes(make_image(1))
    again = cli("snapshot", "download", store, VM, "drive.img.fidx")
    assert (again.code, "--force" in again.err) == (2, True)
    assert cli("snapshot", "download", store, VM, "drive.img.fidx", "--stored").code == 0
    assert Path("drive.img.fidx").stat().st_size == 4096 + 32
    missing = cli("snapshot", "download", store, VM, "nothing")
    assert (missing.code, "drive.img.fidx" in missing.err) == (2, True)
    assert sorted(path.name for path in Path().iterdir() if path.name != "config") == [
        "drive.img", "drive.img.fidx", "etc.tar.zst", "etc.zip",
    ]  # fmt: skip


def test_groups_and_namespaces(cli: Run, store: str) -> None:
    assert cli("namespace", "create", store, "prod").code == 0
    assert cli("namespace", "create", store, "prod/web").out == "namespace 'prod/web' is there\n"
    assert cli("namespace", "list", store).out.split() == ["Namespace", "(root)", "prod", "prod/web"]
    assert cli("group", "move", store, "vm/100", "--target-ns", "prod/web").out.endswith("TASK OK\n")
    assert [
        row["backup-id"] for row in cli("group", "list", store, "--ns", "prod/web", "--output-format", "json").data
    ] == ["100"]
    assert cli("namespace", "move", store, "prod/web", "web").out.endswith("TASK OK\n")
    moved = cli("group", "move", store, "vm/100", "--ns", "web", "--output-format", "json")
    assert (moved.code, moved.data["exitstatus"], moved.data["type"]) == (0, "OK", "move-group")
    assert cli("group", "notes", store, "vm/100", "big one").code == 0
    assert "big one" in cli("group", "list", store).out
    assert cli("group", "change-owner", store, "vm/100", "root@pam").out == "vm/100 belongs to root@pam\n"
    assert cli("namespace", "delete", store, "prod", "-y").code == 0
    assert cli("namespace", "delete", store, "web", "-y", "--delete-groups", "--output-format", "json").code == 0
    gone = cli("group", "forget", store, "vm/999", "-y")
    assert (gone.code, "ENOENT" in gone.err) == (1, True)


def test_upkeep(cli: Run, store: str) -> None:
    verified = cli("verify", store, SECOND)
    assert (verified.code, verified.out.splitlines()[-1]) == (0, "TASK OK")
    assert "verified" in cli("snapshot", "list", store).out
    dry = cli("prune", store, "host/web-01", "--keep-last", "1", "--dry-run")
    assert [line.split()[-1] for line in dry.out.splitlines()[1:]] == ["remove", "keep"]
    nothing = cli("prune", store)
    assert (nothing.code, "--keep-" in nothing.err) == (2, True)
    assert cli("prune", store, "--keep-last", "5", "--dry-run").out.endswith("TASK OK\n")
    assert cli("gc", "start", store).out.endswith("TASK OK\n")
    assert cli("gc", "start", store, "--dry-run", "--output-format", "json").data["chunks_deleted"] == 0
    assert "Deduplication" in cli("gc", "status", store).out
    for arguments in (("list",), ("list", "--store", store), ("job", store), ("now", store)):
        assert cli("gc", *arguments).code == 0
    assert cli("datastore", "status", store, "--output-format", "json").data["counts"]["host"]["snapshots"] >= 1


def test_tasks(cli: Run, store: str) -> None:
    started = cli("gc", "start", store, "--no-wait")
    upid = started.out.strip()
    assert upid.startswith("UPID:")
    short = short_id(upid)[:8].lower()
    followed = cli("task", "log", short, "--follow")
    assert (followed.code, followed.out.splitlines()[-1]) == (0, "TASK OK")
    assert cli("task", "log", upid, "--follow", "--output-format", "json").data["exitstatus"] == "OK"
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d starting", cli("task", "log", short).out)
    assert "TASK OK" in cli("task", "log", short, "--download").out
    assert upid in cli("task", "show", short).out
    assert cli("task", "stop", short).code == 0
    assert short in cli("task", "list", "--type", "garbage", "--store", store, "--result", "ok", "--since", "1h").out
    assert cli("task", "list", "--running").code == 0
    assert cli("task", "show", "ffffffffffffff").code == 2
    failed = cli("api", "create", f"admin/datastore/{store}/prune-datastore", "ns=missing", "keep-last=1", "--wait")
    assert (failed.code, "the task failed" in failed.err) == (5, True)


def test_datastores(cli: Run) -> None:
    name = fresh("made")
    assert cli("datastore", "create", name, "--comment", "first", "--gc-schedule", "daily").code == 0
    assert cli("datastore", "update", name, "--comment", "second", "--verify-new").code == 0
    shown = cli("datastore", "show", name, "--output-format", "json").data
    assert (shown["comment"], shown["path"], shown["verify-new"]) == ("second", f"/pbs-cloud/{name}", True)
    assert cli("datastore", "maintenance", name, "read-only", "--message", 'so "it" is').code == 0
    assert 'so \\"it\\" is' in cli("datastore", "show", name).out
    assert cli("datastore", "maintenance", name, "off").code == 0
    assert cli("datastore", "update", name, "--unset", "comment").code == 0
    assert cli("datastore", "show", name, "--output-format", "json").data.keys() == {
        "name",
        "path",
        "verify-new",
        "gc-schedule",
    }
    for part in (("config",), ("load", name), ("operations", name), ("list",)):
        assert cli("datastore", *part).code == 0
    assert cli("datastore", "mount", name).code == 1
    assert cli("datastore", "delete", name, "--destroy-data").code == 2
    assert cli("datastore", "delete", name, "--destroy-data", "--yes").code == 0
    assert name not in cli("datastores").out


@pytest.mark.parametrize("kind", ["prune-job", "verify-job"])
def test_jobs(cli: Run, store: str, kind: str) -> None:
    job, keep = fresh("job"), ("--keep-last", "9") if kind == "prune-job" else ("--outdated-after", "30")
    assert cli(kind, "create", job, store, "--schedule", "daily", *keep, "--comment", "nightly").code == 0
    assert cli(kind, "update", job, "--schedule", "weekly", "--unset", "comment").code == 0
    shown = cli(kind, "show", job, "--output-format", "json").data
    assert (shown["schedule"], "comment" in shown) == ("weekly", False)
    assert cli(kind, "run", job).out.endswith("TASK OK\n")
    listed = [row for row in cli(kind, "list", "--store", store, "--output-format", "json").data if row["id"] == job]
    assert (listed[0]["last-run-state"], "next-run" in listed[0]) == ("OK", True)
    if kind == "verify-job":
        assert "OK" in cli(kind, "status", job).out
        assert "verificationjob" in cli(kind, "history", job).out
    assert cli(kind, "config").code == 0
    assert cli(kind, "delete", job).code == 0
    assert cli(kind, "show", job).code == 1


def test_users_tokens_and_rights(cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    user, plain = f"{fresh('u')}@pbs", f"{fresh('u')}@pbs"
    assert (
        cli("user", "create", user, "--permission", "backup", "--comment", "x", "--password", stdin="a-password\n").code
        == 0
    )
    assert cli("user", "create", plain, "--email", "a@example.com").code == 0
    assert cli("user", "update", plain, "--no-enable", "--expire", "30d", "--unset", "email").code == 0
    assert cli("user", "show", plain, "--output-format", "json").data.keys() == {"userid", "enable", "expire"}
    made = cli(
        "token", "create", user, "laptop", "--permission", "backup", "--expire", "2d", "--output-format", "json"
    ).data
    assert "laptop" in cli("token", "list", user).out
    assert cli("token", "update", user, "laptop", "--comment", "mine", "--expire", "never").code == 0
    assert "mine" in cli("token", "show", user, "laptop").out
    renewed = cli("token", "regenerate", user, "laptop", "--yes")
    [secret] = re.findall(r"PBS_API_TOKEN='(.*)'", renewed.out)
    assert made["value"] not in secret
    assert "DatastoreBackup" in cli("acl", "list", "--path", "/datastore").out
    assert cli("acl", "set", "/datastore/none", "DatastoreReader", plain, "--no-propagate").code == 0
    assert cli("acl", "delete", "/datastore/none", "DatastoreReader", plain).code == 0
    assert cli("role", "list").code == cli("realm", "list").code == 0
    assert "Datastore.Backup" in cli("permissions", "--auth-id", user, "--path", "/datastore").out
    monkeypatch.setenv("PBS_API_TOKEN", secret)
    assert "/datastore" in cli("permissions").out
    denied = cli("tenant", "list")
    assert (denied.code, "403" in denied.err) == (4, True)
    assert cli("password", plain, "--no-confirmation", stdin="another-password\n").code == 1
    monkeypatch.setenv("PBS_API_TOKEN", f"{user}!laptop:{made['value']}")
    old = cli("version")
    assert (old.code, "does not accept" in old.err, made["value"] in old.err) == (4, True, False)


def test_own_tokens(cli: Run) -> None:
    name = fresh("own")
    assert "export PBS_API_TOKEN=" in cli("token", "create-own", name, "--permission", "read").out
    assert name in cli("token", "list").out
    assert cli("token", "delete-own", name, "-y").out == f"token {name} removed\n"
    assert cli("token", "delete-own", name, "-y").code == 2


def test_tenants(cli: Run) -> None:
    realm = fresh("t")
    assert (
        cli("tenant", "create", f"Name {realm}", "--realm", realm, "--quota", "10GiB", "--metadata", "plan=gold").code
        == 0
    )
    changed = cli(
        "tenant", "update", realm, "--quota", "unlimited", "--maintenance", "please pay", "--output-format", "json"
    )
    assert (changed.data["quota_bytes"], changed.data["maintenance"]) == (None, "please pay")
    assert (
        cli("tenant", "update", f"Name {realm}", "--maintenance", "none", "--output-format", "json").data["maintenance"]
        is None
    )
    user = cli(
        "user", "create", f"boss@{realm}", "--tenant", realm, "--permission", "admin", "--output-format", "json"
    ).data
    assert (user["username"], user["permission"]) == (f"boss@{realm}", "admin")
    assert f"boss@{realm}" in cli("tenant", "users", realm).out
    assert realm in cli("tenant", "show", realm).out
    assert realm in cli("tenant", "list").out
    assert cli("usage", "--tenant", realm).code == 0
    assert cli("tenant", "delete", realm).code == 2
    assert cli("tenant", "delete", realm, "--force", "--yes").out == f"tenant {realm} removed\n"
    assert cli("tenant", "show", realm).code == 2


def test_login_with_a_password_and_with_a_token(
    cli: Run, product: ProductServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = f"{fresh('u')}@pbs"
    assert cli("user", "create", user, "--permission", "read", "--password", stdin="a-password\n").code == 0
    token = os.environ["PBS_API_TOKEN"]
    monkeypatch.delenv("PBS_API_TOKEN")
    none = cli("version")
    assert (none.code, "pbs-cloud login" in none.err) == (4, True)
    wrong = cli("login", "me", "--username", user, "--password-stdin", stdin="wrong\n")
    assert (wrong.code, "refused" in wrong.err) == (4, True)
    assert cli("login", "me", "--username", user, "--password-stdin", stdin="a-password\n").code == 0
    assert cli("login", "root", "--token", token, "--default").code == 0
    for name in ("PBS_API_URL", "PBS_FINGERPRINT"):
        monkeypatch.delenv(name)
    assert cli("tenant", "list").code == 0
    assert cli("--profile", "me", "tenant", "list").code == 4
    assert "Datastore.Read" in cli("permissions", "--profile", "me").out
    assert cli("profile", "use", "me").code == 0
    listed = cli("profile", "list", "--output-format", "json").data
    assert [(row["name"], row["default"], row["auth-id"]) for row in listed] == [
        ("me", True, user), ("root", False, product.token_id),
    ]  # fmt: skip
    path = config_path(os.environ)
    before = load_config(path).profiles["me"]
    path.write_text(
        path.read_text().replace(f"ticket_time = {before.ticket_time}", f"ticket_time = {before.ticket_time - 1000}")
    )
    assert cli("version").code == 0
    assert load_config(path).profiles["me"].ticket_time >= before.ticket_time, "renewed"
    path.write_text(path.read_text().replace("ticket_time = ", "ticket_time = 1 #"))
    over = cli("version")
    assert (over.code, "the login is over" in over.err) == (4, True)
    assert cli("logout", "me").code == 0
    assert cli("version").code == 4
    assert cli("password", user, stdin="new-password\na-password\n").code == 4


def test_second_factors(cli: Run) -> None:
    user, secret = f"{fresh('u')}@pbs", "a-password"
    assert cli("user", "create", user, "--permission", "read", "--password", stdin=f"{secret}\n").code == 0
    assert cli("second-factor", "list", user).err == "no second factors\n"
    login = ("login", "two", "--username", user, "--password-stdin")
    assert cli(*login, stdin=f"{secret}\n").code == 0
    uri = new_uri(user)
    key = parse_qs(urlsplit(uri).query)["secret"][0]
    as_user = ("--profile", "two", "--password")
    added = cli(
        "second-factor", "add", user, *as_user, "--uri", uri, "--code", totp(key, time.time()), stdin=f"{secret}\n"
    )
    assert "has the second factor" in added.out, added.err
    keys = cli("second-factor", "recovery", user, *as_user, "--output-format", "json", stdin=f"{secret}\n").data[
        "recovery"
    ]
    entries = cli("second-factor", "list", user, "--output-format", "json").data
    assert [entry["type"] for entry in entries] == ["totp", "recovery"]
    needed = cli(*login, stdin=f"{secret}\n")
    assert (needed.code, "--otp" in needed.err) == (2, True)
    assert cli(*login, "--otp", keys[0], stdin=f"{secret}\n").code == 0
    assert cli("second-factor", "show", user, entries[0]["id"]).code == 0
    changed = cli(
        "second-factor", "update", user, entries[0]["id"], *as_user, "--description", "phone", stdin=f"{secret}\n"
    )
    assert changed.code == 0
    assert "phone" in cli("second-factor", "list").out
    assert cli("second-factor", "delete", user, "recovery", *as_user, "-y", stdin=f"{secret}\n").code == 0
    assert cli("second-factor", "unlock", user).out == f"{user} was not locked\n"


def totp(key: str, moment: float) -> str:
    """The code of six digits that a device shows (RFC 6238)."""
    digest = hmac.digest(base64.b32decode(key), struct.pack(">Q", int(moment) // 30), "sha1")
    place = digest[-1] & 15
    return f"{(struct.unpack('>I', digest[place : place + 4])[0] & 0x7FFFFFFF) % 10**6:06}"


def test_what_is_kept_as_configuration(cli: Run, store: str) -> None:
    name = fresh("n")
    assert (
        cli("remote", "create", name, "--host", "pbs2", "--auth-id", "a@pbs", "--password", stdin="there\n").code == 0
    )
    assert cli("remote", "update", name, "--comment", "second site", "--port", "443").code == 0
    assert "second site" in cli("remote", "list").out
    assert "there" not in cli("remote", "show", name).out
    assert (
        cli(
            "sync-job", "create", name, store, "--remote", name, "--remote-store", "tank", "--group-filter", "type:vm"
        ).code
        == 0
    )
    assert cli("sync-job", "update", name, "--schedule", "daily", "--unset", "group-filter").code == 0
    assert cli("sync-job", "show", name, "--output-format", "json").data["schedule"] == "daily"
    assert f"{name}:tank" in cli("sync-job", "list").out
    assert cli("sync-job", "config").code == 0
    assert cli("sync-job", "run", name).code == 1
    assert cli("sync-job", "delete", name).code == cli("remote", "delete", name).code == 0
    assert cli("traffic-control", "create", name, "--network", "10.0.0.0/8", "--rate-in", "10MB").code == 0
    assert cli("traffic-control", "update", name, "--comment", "night").code == 0
    assert "10.0.0.0/8" in cli("traffic-control", "list").out
    assert cli("traffic-control", "show", name).code == cli("traffic-control", "config").code == 0
    assert cli("traffic-control", "delete", name).code == 0
    realm = ("--issuer-url", "https://id.example.com", "--client-id", "pbs", "--client-key")
    assert cli("realm", "create", name, *realm, stdin="key\n").code == 0
    assert cli("realm", "update", name, "--autocreate", "--comment", "staff").code == 0
    assert "staff" in cli("realm", "openid").out
    assert cli("realm", "show", name, "--output-format", "json").data["autocreate"] is True
    assert cli("realm", "delete", name, "-y").code == 0
    refused = cli("webhook", "create", "https://127.0.0.1/hook", "--event", "backup_created", "--secret", stdin="key\n")
    assert (refused.code, "public address" in refused.err) == (1, True)
    assert cli("webhook", "list").code == 0
    assert cli("webhook", "show", "https://127.0.0.1/hook").code == 2


def test_any_call_by_its_path(cli: Run, store: str) -> None:
    assert cli("api", "get", "/api2/json/version").code == 0
    assert (
        cli("api", "get", f"admin/datastore/{store}/snapshots", "backup-type=host", "--output-format", "json").code == 0
    )
    assert cli("api", "set", f"config/datastore/{store}", "comment=by hand", "verify-new=yes").code == 0
    assert cli("api", "set", f"config/datastore/{store}", 'delete:=["comment"]', "verify-new:=false").code == 0
    assert "comment" not in cli("api", "get", f"config/datastore/{store}", "--output-format", "json").data
    unknown = cli("api", "get", "no/such/path")
    assert (unknown.code, "404" in unknown.err) == (1, True)


def test_trust(cli: Run, product: ProductServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PBS_FINGERPRINT")
    distrusted = cli("version")
    assert (distrusted.code, product.fingerprint in distrusted.err) == (3, True)
    assert cli("version", "--insecure").code == 0
    assert cli("version", "--fingerprint", product.fingerprint.upper().replace(":", "")).code == 0
    other = cli("version", "--fingerprint", "00" * 32)
    assert (other.code, "not the expected one" in other.err) == (3, True)
    plain = cli("version", "--url", product.url.replace("https", "http"))
    assert (plain.code, "Traceback" in plain.err) == (3, False)


def test_as_a_process(product: ProductServer, store: str) -> None:
    """Signals, closed pipes and the entry point itself."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PBS_")}
    env |= {"PBS_API_URL": product.url, "PBS_FINGERPRINT": product.fingerprint}
    env["PBS_API_TOKEN"] = f"{product.token_id}:{product.token_secret}"
    program = Path(sys.executable).with_name("pbs-cloud")
    command = [str(program)] if program.exists() else [sys.executable, "-m", "pbs_cloud.cli"]
    done = subprocess.run([*command, "snapshot", "list", store], env=env, capture_output=True, text=True, check=True)
    assert SECOND in done.stdout
    piped = subprocess.run(
        ["bash", "-c", f"{' '.join(command)} role list --output-format json-pretty | head -1; exit ${{PIPESTATUS[0]}}"],
        env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (piped.stdout, "Traceback" in piped.stderr) == ("[\n", False)
