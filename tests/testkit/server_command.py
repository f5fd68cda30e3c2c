"""The server's commands as an operator runs them."""

import os
import subprocess
import sys


def server_command(*arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
    """`pbs-cloud` with these settings and no others; at most two minutes."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PBS_", "AWS_"))}
    return subprocess.run(
        [sys.executable, "-m", "pbs_cloud.server", *arguments],
        env={**inherited, **env}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
