"""Entry point of the program; light, so that Ctrl-C ends it quietly also while the rest is loaded."""

import sys


def main() -> None:
    """The command line."""
    try:
        from pbs_cloud.cli.main import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)
