"""The `diptych` command. Exit codes: see `diptych.cli.failures`."""

import os
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command and ends the process with its exit code."""
    from diptych.cli import failures

    if not os.environ.get("DIPTYCH_DEBUG"):
        sys.excepthook = failures.excepthook
    raise SystemExit(failures.run_command(sys.argv[1:] if arguments is None else arguments))
