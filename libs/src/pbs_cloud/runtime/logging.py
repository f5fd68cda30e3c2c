"""Structured logs on standard error: JSON for machines, coloured lines for a terminal.

Use: `log = get_logger(__name__)`; `log.info("chunk written", size=4096)`. Events are short fixed phrases, values are
keys.
"""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, cast

import structlog

_SECRET_WORDS = (
    "secret",
    "password",
    "token_value",
    "ticket",
    "authorization",
    "cookie",
    "private_key",
    "encryption_key",
)
_REDACTED = "[hidden]"


def configure_logging(*, level: str = "info", format: str = "auto", process: str = "") -> None:
    """Set up logging of this process; called once, before anything logs. `format`: auto, json or console."""
    as_json = format == "json" or (format == "auto" and not sys.stderr.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        hide_secrets,
    ]
    if as_json:
        shared += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        shared += [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    structlog.configure(
        processors=shared,
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(process=process)
    root = logging.getLogger()
    root.handlers[:] = [_Bridge()]
    root.setLevel(logging.WARNING)


def get_logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """A logger whose lines carry `source=name`."""
    return cast(structlog.typing.FilteringBoundLogger, structlog.get_logger(source=name.removeprefix("pbs_cloud.")))


def hide_secrets(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Processor: the value of a key that sounds like a secret never reaches the output."""
    for key in event:
        if any(word in key.lower() for word in _SECRET_WORDS):
            event[key] = _REDACTED
    return event


class _Bridge(logging.Handler):
    """Lines of libraries that use the standard library's logging."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger(source=record.name)
        log.log(record.levelno, record.getMessage(), exc_info=record.exc_info or None)
