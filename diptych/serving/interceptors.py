"""What every call passes: request id, clock, access, draining, metrics, and the one mapping of errors to statuses.

The only broad `except` of the project is here. Handlers raise `DiptychError` and never call `context.abort`.
"""

from __future__ import annotations  # RpcMethodHandler is generic in its stub alone

import asyncio
import inspect
import logging
import re
import time
import uuid
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterator,
    Mapping,
)
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health

from diptych.errors import DeadlineExceeded, DiptychError, InternalError, InvalidRequest, ServiceUnavailable, to_status
from diptych.serving.auth import Tokens, certificate_name
from diptych.serving.context import RequestContext, enter_request
from diptych.serving.lifecycle import Lifecycle
from diptych.serving.telemetry import Telemetry

logger = logging.getLogger(__name__)

REQUEST_ID = "x-request-id"
_STATUS_DETAILS = "grpc-status-details-bin"
# Others' ids go into logs and answers, so only what is harmless there.
_GOOD_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
# Clients accept 8 KiB of trailers by default; base64 takes a third and the message travels twice.
_MOST_MESSAGE_CHARACTERS = 1024
_MOST_STATUS_BYTES = 4096
# Questions that are answered while draining too; whoever asks must be told.
_PROBES = frozenset({"GRPCInferenceService/ServerLive", "GRPCInferenceService/ServerReady"})
_CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class InFlight:
    """How many accepted calls have not ended, and a way to wait for none."""

    def __init__(self) -> None:
        self.count = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def begin(self) -> Callable[[], None]:
        """Counts a call in. It is out once the function returned was called twice: handler over, and answer sent.

        Which comes first depends on who ends the call. Draining needs both: an answer still on its way must arrive, and
        a handler still cleaning up must not find its worker closed.
        """
        self.count += 1
        self._idle.clear()
        halves = iter((False, True))

        def end_half() -> None:
            if next(halves):
                self.count -= 1
                if self.count == 0:
                    self._idle.set()

        return end_half

    async def wait_idle(self, seconds: float) -> bool:
        """Whether all calls ended within `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True


@dataclass(frozen=True)
class _Incoming:
    """A call as its headers describe it. `work`: one of this service's own methods, so draining waits for it."""

    method: str
    work: bool
    metadata: Mapping[str, str]

    def request_id(self) -> str:
        given = self.metadata.get(REQUEST_ID, "")
        return given if _GOOD_ID.fullmatch(given) else uuid.uuid4().hex


class RequestInterceptor(grpc.aio.ServerInterceptor):
    """Wraps every handler but health's, of all four kinds, into one scope: see `_scope`."""

    def __init__(
        self, *, lifecycle: Lifecycle, telemetry: Telemetry, service_names: Collection[str], tokens: Tokens | None
    ) -> None:
        self.in_flight = InFlight()
        self._lifecycle = lifecycle
        self._telemetry = telemetry
        self._service_names = frozenset(service_names)
        self._tokens = tokens

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """The handler for a call, wrapped. A call that may not begin is refused before its message is read."""
        handler = await continuation(handler_call_details)
        service, _, name = handler_call_details.method.removeprefix("/").rpartition("/")
        # None is an unknown method: gRPC itself answers UNIMPLEMENTED.
        if handler is None or service == health.SERVICE_NAME:
            return handler
        pairs = handler_call_details.invocation_metadata or ()
        metadata = {key: value for key, value in pairs if isinstance(value, str)}
        method = f"{service.rpartition('.')[2]}/{name}"
        call = _Incoming(method, service in self._service_names and method not in _PROBES, metadata)
        try:
            self._check(call)
        except DiptychError:
            return self._refusing(call)
        return self._wrapped(handler, call)

    def _check(self, call: _Incoming) -> str | None:
        """The caller's name, None where no token is asked for. Raises when the call may not begin."""
        if call.work and not self._lifecycle.accepts_work:
            state = self._lifecycle.state.value
            raise ServiceUnavailable(self._telemetry.service, f"the {self._telemetry.service} is {state}")
        return self._tokens.caller(call.metadata) if self._tokens is not None else None

    def _refusing(self, call: _Incoming) -> Handler:
        # Stream-stream, since gRPC reads a unary request to its last byte before it calls the handler.
        async def refuse(_requests: AsyncIterable[bytes], context: Context) -> None:
            async with self._scope(call, context):
                raise InternalError("a refused call was let in")

        return grpc.stream_stream_rpc_method_handler(refuse)

    def _wrapped(self, handler: Any, call: _Incoming) -> Handler:
        decode = _decoder(handler)

        async def one_to_one(raw: bytes, context: Context) -> Any:
            async with self._scope(call, context):
                return await handler.unary_unary(decode(raw), context)

        async def one_to_many(raw: bytes, context: Context) -> None:
            async with self._scope(call, context):
                await _write_all(handler.unary_stream(decode(raw), context), context)

        async def many_to_one(raws: AsyncIterable[bytes], context: Context) -> Any:
            async with self._scope(call, context), aclosing(_decoded(raws, decode)) as requests:
                return await handler.stream_unary(requests, context)

        async def many_to_many(raws: AsyncIterable[bytes], context: Context) -> None:
            async with self._scope(call, context), aclosing(_decoded(raws, decode)) as requests:
                await _write_all(handler.stream_stream(requests, context), context)

        encode = handler.response_serializer
        if handler.request_streaming and handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(many_to_many, response_serializer=encode)
        if handler.request_streaming:
            return grpc.stream_unary_rpc_method_handler(many_to_one, response_serializer=encode)
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(one_to_many, response_serializer=encode)
        return grpc.unary_unary_rpc_method_handler(one_to_one, response_serializer=encode)

    @asynccontextmanager
    async def _scope(self, call: _Incoming, context: Context) -> AsyncIterator[None]:
        """Everything around one call. Every exit passes the `finally`: counted out, timed, logged."""
        remaining = context.time_remaining()
        deadline = None if remaining is None else time.monotonic() + remaining
        request = RequestContext(call.request_id(), call.method, certificate_name(context.auth_context()), deadline)
        enter_request(request)
        self._telemetry.request_began(call.method)
        end_half = self.in_flight.begin() if call.work else _nothing
        on_sent: Any = lambda _: end_half()  # noqa: E731 - gRPC's own type for it takes no function
        context.add_done_callback(on_sent)
        code = grpc.StatusCode.OK.name
        try:
            with _leaving():
                await context.send_initial_metadata(((REQUEST_ID, request.request_id),))
            caller = self._check(call)
            if caller is not None:
                enter_request(request := _named(request, caller))
            yield
        except asyncio.CancelledError:
            expired = deadline is not None and time.monotonic() >= deadline
            code = (grpc.StatusCode.DEADLINE_EXCEEDED if expired else grpc.StatusCode.CANCELLED).name
            raise
        except grpc.aio.AbortError:
            code = "ABORTED_BY_HANDLER"
            raise
        except Exception as error:
            if context.cancelled():
                code = grpc.StatusCode.CANCELLED.name
                raise asyncio.CancelledError from error
            failure = _explain(error, request)
            code = failure.code_name
            await _abort(context, to_status(failure))
        finally:
            seconds = request.clock.total_seconds()
            self._telemetry.request_ended(call.method, code, seconds)
            logger.info("call ended", extra={"fields": _facts(request, code, seconds)})
            end_half()


def _nothing() -> None:
    """Ends a call that draining does not wait for."""


def _named(request: RequestContext, caller: str) -> RequestContext:
    return RequestContext(request.request_id, request.method, caller, request.deadline, request.clock)


def _facts(request: RequestContext, code: str, seconds: float) -> dict[str, object]:
    facts: dict[str, object] = {"method": request.method, "code": code, "seconds": round(seconds, 4)}
    facts["queue_seconds"] = round(request.clock.queue_seconds, 4)
    facts["compute_seconds"] = round(request.clock.compute_seconds, 4)
    if request.caller is not None:
        facts["caller"] = request.caller
    return facts


def _explain(error: Exception, request: RequestContext) -> DiptychError:
    """The error to answer with. What is not a DiptychError stays in the log, under the reference the caller gets."""
    cause: BaseException = error
    while isinstance(cause, BaseExceptionGroup) and len(cause.exceptions) == 1:
        cause = cause.exceptions[0]  # A task group around one failure adds nothing.
    if isinstance(cause, DiptychError):
        if isinstance(cause, InternalError):
            logger.error("internal error", exc_info=error)
        return cause
    if isinstance(cause, TimeoutError) and request.deadline is not None and time.monotonic() >= request.deadline:
        return DeadlineExceeded("the deadline passed before the work was done")
    logger.error("unexpected error", exc_info=error)
    reference = request.request_id
    return InternalError(
        f"an internal error; the server's log has it under {reference}", metadata={"reference": reference}
    )


async def _abort(context: Context, status: status_pb2.Status) -> None:
    fitted = fit_trailers(status)
    trailers = ((_STATUS_DETAILS, fitted.SerializeToString()),)
    await context.abort(_CODES[fitted.code], fitted.message, trailing_metadata=trailers)


def fit_trailers(status: status_pb2.Status) -> status_pb2.Status:
    """`status` short enough for any client's header limit: the message cut, the last field violations left out."""
    fitted = status_pb2.Status()
    fitted.CopyFrom(status)
    if len(fitted.message) > _MOST_MESSAGE_CHARACTERS:
        fitted.message = fitted.message[:_MOST_MESSAGE_CHARACTERS] + "..."
    bad = error_details_pb2.BadRequest()
    for detail in fitted.details:
        if not detail.Unpack(bad):
            continue
        while bad.field_violations and fitted.ByteSize() > _MOST_STATUS_BYTES:
            del bad.field_violations[-1]
            detail.Pack(bad)
    return fitted


def _decoder(handler: Any) -> Callable[[bytes], Any]:
    """Decodes inside the scope, where a message that does not parse is the caller's fault and not a crash."""
    parse = handler.request_deserializer

    def decode(raw: bytes) -> Any:
        if parse is None:
            return raw
        try:
            return parse(raw)
        except DecodeError:
            raise InvalidRequest.single("request", "is not a readable message of this method's type") from None

    return decode


async def _decoded(raws: AsyncIterable[bytes], decode: Callable[[bytes], Any]) -> AsyncGenerator[Any, None]:
    async for raw in raws:
        yield decode(raw)


async def _write_all(responses: Any, context: Context) -> None:
    """Sends what a streaming handler gives. The generator is closed here, in its own task, however this ends."""
    if inspect.isawaitable(responses):
        await responses
        return
    async with aclosing(responses):
        async for response in responses:
            with _leaving():
                await context.write(response)


@contextmanager
def _leaving() -> Iterator[None]:
    """Makes a failed send what it is, the caller's leaving: gRPC reports it here before it cancels the handler."""
    try:
        yield
    except grpc.aio.InternalError as error:
        raise asyncio.CancelledError("the caller has gone") from error
