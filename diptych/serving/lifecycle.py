"""The life of a service as four states, and what each means to a caller.

STARTING   not yet: health NOT_SERVING, calls are refused with UNAVAILABLE
READY      health SERVING, calls are accepted
DRAINING   health NOT_SERVING, accepted calls finish, new ones are refused with UNAVAILABLE
STOPPED    nothing runs any more
"""

import enum
from collections.abc import Awaitable, Callable


class State(enum.Enum):
    """Where a service is in its life."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STOPPED = "stopped"


_NEXT: dict[State, frozenset[State]] = {
    State.STARTING: frozenset({State.READY, State.STOPPED}),
    State.READY: frozenset({State.DRAINING}),
    State.DRAINING: frozenset({State.STOPPED}),
    State.STOPPED: frozenset(),
}


class Lifecycle:
    """The current state, who hears of changes, and what to close at the end. One event loop uses it."""

    def __init__(self) -> None:
        self._state = State.STARTING
        self._on_change: list[Callable[[State], Awaitable[None]]] = []
        self._on_stop: list[Callable[[], Awaitable[None]]] = []

    @property
    def state(self) -> State:
        """The state now."""
        return self._state

    @property
    def accepts_work(self) -> bool:
        """Whether a new call may begin."""
        return self._state is State.READY

    def on_change(self, callback: Callable[[State], Awaitable[None]]) -> None:
        """Awaits `callback` with the new state after each move."""
        self._on_change.append(callback)

    def on_stop(self, callback: Callable[[], Awaitable[None]]) -> None:
        """Awaits `callback` on the way to STOPPED; the last registered goes first, as owners outlive what they lent."""
        self._on_stop.append(callback)

    async def enter(self, state: State) -> None:
        """Moves on to `state`. RuntimeError when no such move exists."""
        if state not in _NEXT[self._state]:
            raise RuntimeError(f"a service cannot go from {self._state.value} to {state.value}")
        self._state = state
        if state is State.STOPPED:
            while self._on_stop:
                await self._on_stop.pop()()
        for callback in self._on_change:
            await callback(state)
