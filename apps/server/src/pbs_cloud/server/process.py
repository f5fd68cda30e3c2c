"""Entry of every service process: `python -m pbs_cloud.server.process <module:function>`.

Settings come from the environment, which the supervisor prepares. Exit codes: 0 after SIGTERM, 2 for a wrong setting,
1 for anything else.
"""

import gc
import importlib
import os
import signal
import sys
from typing import Any

from pbs_cloud.server import child
from pbs_cloud.server.spawn import PIPE_VARIABLE

SUPERVISOR_VARIABLE = "PBS_SUPERVISOR_PID"


def _tie_to_supervisor() -> None:
    supervisor = os.environ.get(SUPERVISOR_VARIABLE)
    if supervisor is None:
        return
    if child.IS_LINUX:
        child.die_with(int(supervisor), signal.SIGKILL)
    elif PIPE_VARIABLE in os.environ:
        child.watch_pipe(int(os.environ[PIPE_VARIABLE]), signal.SIGKILL, os.getpid())


def _import_lightly() -> None:
    """A dozen processes start at once, and a quarter of an import is cyclic collection.

    structlog would load `rich` for tracebacks on a terminal; what cannot be imported, it does without.
    """
    gc.disable()
    modules: dict[str, Any] = sys.modules
    modules["rich"] = None


def _imports_are_done() -> None:
    """What was imported stays for ever: no later collection looks at it again."""
    gc.freeze()
    gc.enable()


def main(target: str) -> int:
    """Run `target` until it is told to stop."""
    _tie_to_supervisor()
    _import_lightly()
    from pbs_cloud.runtime.errors import EXIT_CONFIG, ConfigError
    from pbs_cloud.runtime.lifecycle import run_main
    from pbs_cloud.runtime.logging import configure_logging, get_logger
    from pbs_cloud.runtime.settings import load_settings
    from pbs_cloud.runtime.telemetry import configure_metrics, configure_tracing

    try:
        settings = load_settings()
        configure_logging(level=settings.log_level, format=settings.log_format, process=settings.process_name)
        configure_metrics(settings.process_name)
        configure_tracing(settings.otlp_endpoint, settings.process_name)
        module, _, function = target.partition(":")
        entry = getattr(importlib.import_module(module), function)
        _imports_are_done()
        run_main(entry, settings)
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_CONFIG
    except Exception:
        get_logger(__name__).exception("process failed")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
