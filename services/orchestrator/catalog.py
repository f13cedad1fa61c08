"""Which models generator and editor can use now: asked for in the background, remembered for a while."""

import asyncio
import time

from diptych.calls import ServiceName
from diptych.client import AsyncClient
from diptych.errors import DiptychError
from diptych.v1 import model_pb2
from services.orchestrator.planning.model_choice import Catalog, Offered

_FRESH_SECONDS, _RETRY_SECONDS, _PATIENCE = 60.0, 5.0, 1.0
_USABLE = (model_pb2.MODEL_STATE_AVAILABLE, model_pb2.MODEL_STATE_LOADING, model_pb2.MODEL_STATE_READY)


class CatalogReader:
    """Keeps what the services list. A planner waits for the first answer a second at most, later ones not at all."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._known: dict[str, tuple[Offered, ...]] = {}
        self._asking: asyncio.Task[None] | None = None
        self._due = 0.0

    @property
    def known(self) -> Catalog:
        """What was heard last; asks nobody."""
        return Catalog(tuple(model for models in self._known.values() for model in models))

    async def current(self) -> Catalog:
        """What was heard last; when that is old, the services are asked again."""
        if time.monotonic() >= self._due and (self._asking is None or self._asking.done()):
            self._asking = asyncio.create_task(self._ask())
        if not self._known and self._asking is not None and not self._asking.done():
            await asyncio.wait([self._asking], timeout=_PATIENCE)
        return self.known

    async def close(self) -> None:
        """Asks no more."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])

    async def _ask(self) -> None:
        heard = await asyncio.gather(self._list("generator"), self._list("editor"))
        self._due = time.monotonic() + (_FRESH_SECONDS if all(heard) else _RETRY_SECONDS)

    async def _list(self, service: ServiceName) -> bool:
        try:
            answer = await self._client.list_models(model_pb2.ListModelsRequest(), service=service, timeout=_PATIENCE)
        except DiptychError:
            # What was heard before stays true until it is heard otherwise; a plan without it uses the defaults.
            return False
        self._known[service] = tuple(_offered(service, model) for model in answer.models if model.state in _USABLE)
        return True


def _offered(service: str, model: model_pb2.Model) -> Offered:
    steps, side = (model.defaults.get(name, "") for name in ("num_inference_steps", "width"))
    numbers = [int(text) if text.isdecimal() else 0 for text in (steps, side)]
    return Offered(service, model.ref.name, model.task, model.description, *numbers)
