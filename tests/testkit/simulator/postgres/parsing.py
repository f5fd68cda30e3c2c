"""From SQL text to the parser's tree."""

from __future__ import annotations

import logging
import re
from functools import lru_cache

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from testkit.simulator.postgres.failures import UnsupportedSql

# The parser takes `$1,$` for the beginning of a dollar-quoted text.
_ARGUMENT = re.compile(r"'(?:[^']|'')*'|\$\d+")
# What it does not know becomes a `Command`, which we refuse; its warning about that is of no use.
logging.getLogger("sqlglot").setLevel(logging.ERROR)


def parse_statements(text: str) -> list[exp.Expr]:
    """The statements of a text. Raises UnsupportedSql."""
    spaced = _ARGUMENT.sub(lambda found: found[0] if found[0][0] == "'" else f"{found[0]} ", text)
    try:
        return [statement for statement in sqlglot.parse(spaced, read="postgres") if statement is not None]
    except SqlglotError as error:
        raise UnsupportedSql(f"{error}: {text}") from error


def parse_statement(text: str) -> exp.Expr:
    """The only statement of a text. Raises UnsupportedSql."""
    found = parse_statements(text)
    if len(found) != 1:
        raise UnsupportedSql(f"{len(found)} statements: {text}")
    return found[0]


@lru_cache(maxsize=64)
def parse_condition(text: str) -> exp.Expr:
    """A condition alone."""
    condition: exp.Expr = parse_statement(f"SELECT {text}").expressions[0]
    return condition
