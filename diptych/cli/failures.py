"""Failures as a caller of the command sees them: one line, or JSON, and an exit code.

0 done, 2 usage or bad input, 3 clarification needed, 4 service unavailable, 1 anything else.
"""

import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, TypeVar

import typer

from diptych.errors import (
    ClarificationNeeded,
    DiptychError,
    InvalidRequest,
    ModelNotFound,
    Overloaded,
    ServiceUnavailable,
)

DONE, FAILED, USAGE, CLARIFY, UNAVAILABLE = 0, 1, 2, 3, 4
# What Typer makes of Ctrl-C.
_INTERRUPTED = 130
_TO_ANSWER = "Say it in the goal, or ask with --conversation NAME and then give the number as the goal."

T = TypeVar("T")


def run_command(arguments: Sequence[str]) -> int:
    """Runs the whole command; its exit code."""
    from diptych.cli.app import app

    as_json = "--json" in arguments
    try:
        code = app(list(arguments), prog_name="diptych", standalone_mode=False)
    except DiptychError as error:
        report(error, as_json=as_json)
        return exit_code(error)
    except typer.TyperException as fault:
        return _usage(fault.format_message(), as_json=as_json)
    except (KeyboardInterrupt, asyncio.CancelledError, typer.Abort):
        code = _INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has left. Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    if code == _INTERRUPTED:
        write_line("interrupted")
        return FAILED
    return code if isinstance(code, int) else DONE


def _usage(message: str, *, as_json: bool) -> int:
    """Writes a fault of usage to stderr."""
    if as_json:
        _write_json({"code": "INVALID_ARGUMENT", "reason": "USAGE", "message": " ".join(message.split())})
    elif message:
        # Without one the help has been shown already.
        write_line(f"{message.rstrip('.')}. See --help.")
    return USAGE


def exit_code(error: DiptychError) -> int:
    """What the process ends with."""
    match error:
        case InvalidRequest() | ModelNotFound():
            return USAGE
        case ClarificationNeeded():
            return CLARIFY
        case ServiceUnavailable():
            return UNAVAILABLE
    return FAILED


def report(error: DiptychError, *, as_json: bool) -> None:
    """Writes a failure to stderr."""
    if as_json:
        _write_json(_described(error))
    elif isinstance(error, ClarificationNeeded):
        options = [f"  {number}. {label}" for number, label in enumerate(error.options, 1)]
        print("\n".join([error.question, *options, _TO_ANSWER]), file=sys.stderr)
    else:
        write_line(error.message + _hint(error))


def write_line(message: str) -> None:
    """Writes one line of error to stderr."""
    lines = [" ".join(line.split()) for line in message.splitlines() if line.strip()]
    print(f"error: {'; '.join(lines)}", file=sys.stderr)


def run(work: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns. SIGTERM cancels it, so that calls are cancelled and children stopped."""

    async def watched() -> T:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await work

    return asyncio.run(watched())


@contextmanager
def ended_gently() -> Iterator[None]:
    """While it lasts, SIGTERM and a closed terminal end the command as Ctrl-C does: what is half-made goes too."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Signals are the main thread's.
        return
    before = {one: signal.signal(one, signal.default_int_handler) for one in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def excepthook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """One line for a fault of the command itself."""
    write_line(f"{kind.__name__}: {error} (a fault of diptych; set DIPTYCH_DEBUG=1 for the whole trace)")


def _hint(error: DiptychError) -> str:
    if isinstance(error, Overloaded) and error.retry_after is not None:
        return f" (try again in {error.retry_after:.1f} s)"
    return ""


def _described(error: DiptychError) -> dict[str, object]:
    fields: dict[str, object] = {"code": error.code_name, "reason": error.reason, "message": error.message}
    if isinstance(error, InvalidRequest):
        fields["violations"] = [{"field": v.field, "description": v.description} for v in error.violations]
    if isinstance(error, ClarificationNeeded):
        fields |= {"question": error.question, "options": list(error.options)}
    if isinstance(error, Overloaded) and error.retry_after is not None:
        fields["retry_after_seconds"] = error.retry_after
    if error.metadata:
        fields["metadata"] = error.metadata
    return fields


def _write_json(fields: dict[str, object]) -> None:
    print(json.dumps({"error": fields}, ensure_ascii=False), file=sys.stderr)
