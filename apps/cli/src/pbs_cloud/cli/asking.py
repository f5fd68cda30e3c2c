"""Secrets and answers from the terminal, or from the input where there is none."""

import getpass
import sys

from pbs_cloud.cli.errors import UsageError


def ask_secret(prompt: str, *, twice: bool = False) -> str:
    """Typed unseen; without a terminal a line of the input. Raises UsageError."""
    if not sys.stdin.isatty():
        line = sys.stdin.readline()
        if not line:
            raise UsageError(f"nothing on the input for '{prompt}'")
        return line.rstrip("\n")
    first = getpass.getpass(f"{prompt}: ")
    if twice and getpass.getpass(f"{prompt} again: ") != first:
        raise UsageError("the two are not the same")
    return first


def ask_line(prompt: str) -> str:
    """A line that is seen while it is typed."""
    sys.stderr.write(f"{prompt}: ")
    sys.stderr.flush()
    return sys.stdin.readline().strip()


def ask_yes(question: str) -> bool:
    """Whether the answer is yes; on a terminal only."""
    return ask_line(f"{question} [y/N]").lower() in ("y", "yes")
