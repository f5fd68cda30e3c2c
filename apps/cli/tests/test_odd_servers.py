"""Servers that do what ours does not: endless tasks, answers cut short, no answer, no API."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from .conftest import Run

UPID = "UPID:pbs-cloud:00000001:00000001:ABCDEF0123456789:6B03DE55:verify:tank:root@pam!t:"


class Handler(BaseHTTPRequestHandler):
    """Answers from a table of path ends."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        path = self.path.partition("?")[0].rpartition("/")[2]
        self.asked.append(path)
        if path == "log":
            time.sleep(0.05)
            first = "start=1&" in self.path
            data = [{"n": 1, "t": "2026-03-02T02:14:40+00:00: percentage done: 50%"}] if first else []
            self.reply({"data": data, "total": 1, "active": True})
        elif path == "download-decoded":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"x" * 10)
            self.wfile.flush()
            self.close_connection = True
        elif path == "files":
            self.reply({"data": [{"filename": "a.img.fidx", "size": 1000}]})
        elif path == "version":
            self.reply(None)
        elif path == "nodes":
            self.send_response(429)
            self.send_header("Retry-After", "7")
            self.send_header("Content-Length", "13")
            self.end_headers()
            self.wfile.write(b"slow down now")
        elif path == "silent":
            time.sleep(3)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.reply({"data": UPID})

    def reply(self, value: Any) -> None:
        body = b"<html>" if value is None else json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing to say."""


@pytest.fixture
def odd(run: Run, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("PBS_API_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("PBS_API_TOKEN", "a@b!c:d")
    yield run
    server.shutdown()
    server.server_close()


def test_a_download_that_is_cut_short_leaves_no_file(odd: Run) -> None:
    result = odd("snapshot", "download", "tank", "vm/100/2026-03-02T02:00:04Z", "a.img.fidx")
    assert (result.code, "early" in result.err) == (1, True)
    assert not [path for path in Path().iterdir() if path.is_file()]


def test_no_api_no_answer_and_too_many_requests(odd: Run) -> None:
    assert (odd("version").code, "no JSON" in odd("version").err) == (1, True)
    late = odd("api", "get", "silent", "--timeout", "0.3")
    assert (late.code, "within 0.3 s" in late.err) == (3, True)
    busy = odd("nodes")
    assert (busy.code, "slow down now" in busy.err, "7 s" in busy.err) == (3, True, True)
    assert odd("version", "--timeout", "0").code == 2


def test_nobody_there(run: Run) -> None:
    result = run("version", "--url", "127.0.0.1:1", "--token", "a@b!c:d")
    assert (result.code, "cannot connect: Connection refused" in result.err) == (3, True)
    unknown = run("version", "--url", "no.such.host.invalid", "--token", "a@b!c:d")
    assert (unknown.code, "--url" in unknown.err) == (3, True)


def test_ctrl_c_leaves_the_task_running(odd: Run) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "pbs_cloud.cli", "verify", "tank"],
        env=dict(os.environ), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "percentage done: 50%\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "the task goes on" in err
    assert "task stop abcdef01" in err
    assert "Traceback" not in err
    assert "DELETE" not in Handler.asked


def test_the_help_loads_nothing_that_only_commands_need() -> None:
    """These imports would double its time, which is below 0.4 CPU seconds on a quiet machine."""
    command = [sys.executable, "-X", "importtime", "-m", "pbs_cloud.cli", "--help"]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    assert " pbs_cloud.cli.index\n" in loaded
    for heavy in ("pydantic", "http.client", "httpx", "grpc", "asyncpg", "pbs_cloud.cli.spec", "pbs_cloud.cli.groups"):
        assert f" {heavy}\n" not in loaded, heavy


def test_wrong_usage_says_what_is_meant(run: Run) -> None:
    typo = run("snapshots", "list")
    assert (typo.code, "'snapshot'" in typo.err) == (2, True)
    assert run("snapshot", "files", "tank").code == 2
    assert "whole number" in run("task", "list", "--limit", "x").err
    assert "none of" in run("datastores", "--output-format", "xml").err
    assert "vm/100" in run("group", "forget", "tank", "100", "-y").err
    assert run().code == 2
    for arguments in (("--help",), ("snapshot", "--help"), ("snapshot", "restore", "--help"), ("fsck", "--help")):
        assert run(*arguments).code == 0


def test_a_narrow_terminal_cuts_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from pbs_cloud.cli.output import Output
    from pbs_cloud.cli.views import Column, Table

    view = Table((Column("Name", "name"), Column("Size", "size", right=True), Column("Owner", "owner")))
    rows = [{"name": "n" * 70, "size": 123456789, "owner": "somebody@realm!token"}]
    monkeypatch.setenv("COLUMNS", "80")
    Output("text").show(rows, view)
    stacked = capsys.readouterr().out
    assert max(map(len, stacked.splitlines())) <= 80
    for value in rows[0].values():
        assert str(value) in stacked
    monkeypatch.setenv("COLUMNS", "120")
    Output("text").show(rows, view)
    assert len(capsys.readouterr().out.splitlines()) == 2
