"""The command line in this process, with an environment of its own."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from testkit.product import ProductServer

from pbs_cloud.cli.main import root


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """The JSON that it printed."""
        return json.loads(self.out)


Run = Callable[..., Outcome]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """`run("snapshot", "list", "tank", stdin="…")`; no profile and no variables unless the test sets some."""
    for name in list(os.environ):
        if name.startswith("PBS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, stdin: str = "") -> Outcome:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        with pytest.raises(SystemExit) as ended:
            root().main(args=list(arguments), prog_name="pbs-cloud")
        out, err = capsys.readouterr()
        return Outcome(int(ended.value.code or 0), out, err)

    return run


@pytest.fixture
def cli(run: Run, product: ProductServer, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The same, talking to the running product as the operator."""
    monkeypatch.setenv("PBS_API_URL", product.url)
    monkeypatch.setenv("PBS_API_TOKEN", f"{product.token_id}:{product.token_secret}")
    monkeypatch.setenv("PBS_FINGERPRINT", product.fingerprint)
    return run
