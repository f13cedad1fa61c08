"""The orchestrator's own small database, SQLite in its write-ahead mode: one file, safe when the process is killed.

Several processes may share the file. Every call belongs on one thread.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from diptych.errors import FailedPrecondition

_BUSY_SECONDS = 10.0
Statement = tuple[str, Sequence[Any]]


class Store:
    """A database in a folder, or in memory without one. FailedPrecondition where nothing can be written there."""

    def __init__(self, folder: Path | None) -> None:
        self._place = "the folder of its state" if folder is None else str(folder)
        path = ":memory:" if folder is None else str(folder / "orchestrator.sqlite3")
        with _writable(self._place):
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._database = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            self._database.execute("pragma journal_mode = wal")
            self._database.execute("pragma synchronous = normal")
            self._database.execute("pragma foreign_keys = on")

    def prepare(self, tables: str) -> None:
        """Creates tables that are not there yet."""
        with _writable(self._place):
            self._database.executescript(tables)

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """What a query finds."""
        return self._database.execute(query, values).fetchall()

    def write(self, statements: Sequence[Statement]) -> None:
        """Does all or nothing."""
        with _writable("the folder of its state"), self._database:
            self._database.execute("begin immediate")
            for statement, values in statements:
                self._database.execute(statement, values)

    def close(self) -> None:
        """Closes the file."""
        self._database.close()


@contextmanager
def _writable(place: str) -> Iterator[None]:
    """Faults of the disk in words. A caller hears them too, so only at the start does `place` name a path."""
    try:
        yield
    except (OSError, sqlite3.OperationalError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise FailedPrecondition(
            f"the orchestrator cannot write in {place}: {why}; make room there, or choose another folder with --state",
            reason="STATE_NOT_WRITABLE",
        ) from error
