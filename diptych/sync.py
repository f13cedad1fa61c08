"""`Client`: `AsyncClient` for code without an event loop. Every call runs there, on a loop in a thread of its own."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

from diptych.calls import ServiceName
from diptych.client import AsyncClient
from diptych.connection import Tls

P = ParamSpec("P")
R = TypeVar("R")


class _Loop:
    """An event loop in a daemon thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="diptych-client", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, R]) -> R:
        """What the coroutine returns. Ctrl-C while waiting cancels it, and with it the call on the server."""
        if threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError(
                "on_event runs on the client's own thread: calling the client from there would wait forever"
            )
        future: Future[R] = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        finally:
            future.cancel()

    def stop(self) -> None:
        """Ends the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()


class _Call(Generic[P, R]):
    """A method of `AsyncClient` that waits for the answer."""

    def __init__(self, method: Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, R]]) -> None:
        self._method = method
        self.__doc__ = method.__doc__
        self.__wrapped__ = method

    @overload
    def __get__(self, client: None, owner: type) -> "_Call[P, R]": ...
    @overload
    def __get__(self, client: "Client", owner: type) -> Callable[P, R]: ...
    def __get__(self, client: "Client | None", owner: type) -> "_Call[P, R] | Callable[P, R]":
        if client is None:
            return self

        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            return client._running().run(self._method(client._client, *args, **kwargs))

        call.__doc__ = self.__doc__
        return call


class _Stream(Generic[P, R]):
    """A method of `AsyncClient` that streams; leaving the loop over it cancels the call on the server."""

    def __init__(self, method: Callable[Concatenate[AsyncClient, P], AsyncGenerator[R, None]]) -> None:
        self._method = method
        self.__doc__ = method.__doc__
        self.__wrapped__ = method

    @overload
    def __get__(self, client: None, owner: type) -> "_Stream[P, R]": ...
    @overload
    def __get__(self, client: "Client", owner: type) -> Callable[P, Generator[R, None, None]]: ...
    def __get__(self, client: "Client | None", owner: type) -> "_Stream[P, R] | Callable[P, Generator[R, None, None]]":
        if client is None:
            return self

        def stream(*args: P.args, **kwargs: P.kwargs) -> Generator[R, None, None]:
            loop = client._running()

            async def begin() -> AsyncGenerator[R, None]:
                # A channel belongs to the loop that it is opened on.
                return self._method(client._client, *args, **kwargs)

            answers = loop.run(begin())
            try:
                while True:
                    try:
                        answer = loop.run(_next(answers))
                    except StopAsyncIteration:
                        return
                    yield answer
            finally:
                # A closed client has ended the call already, and its loop with it.
                if client._loop is loop:
                    loop.run(answers.aclose())

        stream.__doc__ = self.__doc__
        return stream


async def _next(answers: AsyncGenerator[R, None]) -> R:
    return await anext(answers)


class Client:
    """The same calls as `AsyncClient`, each waiting for its answer. Safe to use from several threads.

    `on_event` is called on the client's own thread. Use it as a context manager, or call `close`.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        generator_address: str | None = None,
        editor_address: str | None = None,
        token: str | None = None,
        tls: Tls | None = None,
        allow_insecure: bool | None = None,
    ) -> None:
        self._client = AsyncClient(
            address,
            generator_address=generator_address,
            editor_address=editor_address,
            token=token,
            tls=tls,
            allow_insecure=allow_insecure,
        )
        self._loop: _Loop | None = _Loop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends every connection and the thread. A second close does nothing."""
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.run(self._client.close())
            loop.stop()

    def address_of(self, service: ServiceName) -> str:
        """Where this client calls a service."""
        return self._client.address_of(service)

    def _running(self) -> _Loop:
        if self._loop is None:
            raise RuntimeError("the client is closed")
        return self._loop

    create = _Call(AsyncClient.create)
    plan = _Call(AsyncClient.plan)
    run = _Call(AsyncClient.run)
    generate = _Call(AsyncClient.generate)
    animate_latents = _Call(AsyncClient.animate_latents)
    animate = _Call(AsyncClient.animate)
    edit = _Call(AsyncClient.edit)
    analyze = _Call(AsyncClient.analyze)
    models = _Call(AsyncClient.models)
    health = _Call(AsyncClient.health)

    generate_image = _Call(AsyncClient.generate_image)
    stream_generate_image = _Stream(AsyncClient.stream_generate_image)
    stream_animate_latents = _Stream(AsyncClient.stream_animate_latents)
    edit_image = _Call(AsyncClient.edit_image)
    stream_edit_image = _Stream(AsyncClient.stream_edit_image)
    analyze_image = _Call(AsyncClient.analyze_image)
    select_region = _Call(AsyncClient.select_region)
    stream_animate_image = _Stream(AsyncClient.stream_animate_image)
    plan_goal = _Call(AsyncClient.plan_goal)
    run_goal = _Stream(AsyncClient.run_goal)
    run_plan = _Stream(AsyncClient.run_plan)
    create_job = _Call(AsyncClient.create_job)
    get_job = _Call(AsyncClient.get_job)
    list_jobs = _Call(AsyncClient.list_jobs)
    watch_job = _Stream(AsyncClient.watch_job)
    cancel_job = _Call(AsyncClient.cancel_job)
    delete_job = _Call(AsyncClient.delete_job)
    download_artifact = _Stream(AsyncClient.download_artifact)
    upload_artifact = _Call(AsyncClient.upload_artifact)
    list_models = _Call(AsyncClient.list_models)
    get_model = _Call(AsyncClient.get_model)
    load_model = _Call(AsyncClient.load_model)
    unload_model = _Call(AsyncClient.unload_model)
