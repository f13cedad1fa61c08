"""Plans by a language model, at any endpoint that speaks the chat completions protocol of OpenAI. Off by default.

The key goes into one header and nowhere else: not into messages, errors or logs.
"""

import asyncio
import json
from typing import Any

import httpx2
from pydantic import SecretStr

from diptych.v1 import orchestrator_pb2 as v1
from services.orchestrator.language.language_plan import NoPlan, messages, plan_from
from services.orchestrator.language.plan_schema import answer_schema
from services.orchestrator.planning.known import Known

_MOST_ANSWER_BYTES = 2**20
_TRIES = 2


class LanguageModel:
    """One model behind one endpoint. `url`: up to and with "/v1"; `seconds`: for a plan, all tries together."""

    def __init__(self, url: str, model: str, key: SecretStr | None = None, *, seconds: float = 20.0) -> None:
        headers = {"Authorization": f"Bearer {key.get_secret_value()}"} if key is not None else {}
        self._client = httpx2.AsyncClient(headers=headers, timeout=seconds, follow_redirects=False)
        self._endpoint = f"{url.rstrip('/')}/chat/completions"
        self._model = model
        self._seconds = seconds

    async def close(self) -> None:
        """Closes its connections."""
        await self._client.aclose()

    async def plan(self, goal: str, num_images: int, known: Known) -> v1.Plan:
        """The sealed plan for a goal. NoPlan, with the reason, when none came that can be used.

        A plan with faults is sent back once, with what is wrong with it.
        """
        said = messages(goal, num_images, known)
        try:
            async with asyncio.timeout(self._seconds):
                for left in reversed(range(_TRIES)):
                    answer = await self._complete(said)
                    try:
                        return plan_from(answer, num_images, known)
                    except NoPlan as why:
                        if not left:
                            raise
                        said = [
                            *said,
                            {"role": "assistant", "content": answer},
                            {"role": "user", "content": f"That {why}. Answer again."},
                        ]
        except (TimeoutError, httpx2.TimeoutException):
            raise NoPlan(f"did not answer within {self._seconds:g} s") from None
        except httpx2.HTTPError as error:
            raise NoPlan(f"could not be asked ({type(error).__name__})") from None
        raise NoPlan("gave no plan")

    async def _complete(self, said: list[dict[str, str]]) -> str:
        """The text of one completion."""
        form = {"name": "plan", "strict": False, "schema": answer_schema()}
        request = {
            "model": self._model,
            "messages": said,
            "temperature": 0,
            "response_format": {"type": "json_schema", "json_schema": form},
        }
        async with self._client.stream("POST", self._endpoint, json=request) as response:
            if response.status_code != httpx2.codes.OK:
                raise NoPlan(f"answered with HTTP {response.status_code}")
            content = bytearray()
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > _MOST_ANSWER_BYTES:
                    raise NoPlan(f"answered with more than {_MOST_ANSWER_BYTES} bytes")
        return _text_of(bytes(content))


def _text_of(content: bytes) -> str:
    """What the first choice of a chat completion says."""
    try:
        choice: Any = json.loads(content)["choices"][0]
        message = choice["message"]
        text, refusal, finish = message.get("content"), message.get("refusal"), choice.get("finish_reason")
    except (ValueError, LookupError, TypeError, AttributeError):
        raise NoPlan("gave an answer that is no chat completion") from None
    if refusal:
        raise NoPlan("refused")
    if finish == "length":
        raise NoPlan("gave an answer that was cut off")
    if not isinstance(text, str):
        raise NoPlan("gave an answer without text")
    return text
