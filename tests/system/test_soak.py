"""Hard days: a generator process whose callers leave, time out and are killed. Nothing may leak, nobody may suffer.

Seconds long in `make test`; `make soak` sets DIPTYCH_SOAK_SECONDS.
"""

import asyncio
import os
import random
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from google.protobuf.duration_pb2 import Duration
from prometheus_client.parser import text_string_to_metric_families
from stack import ServiceProcess, free_port

from diptych.client import AsyncClient
from diptych.errors import DeadlineExceeded, Overloaded
from diptych.v1 import generator_pb2 as v1
from diptych.v1 import image_pb2

SECONDS = float(os.environ.get("DIPTYCH_SOAK_SECONDS", "6"))
CALLERS = 10
CANCELS = 0.3
# What a call may still be busy with after its caller has gone, and what allocators keep.
SETTLE_SECONDS = 60
MOST_GROWTH_MIB = 96
RAW = image_pb2.OutputOptions(format=image_pb2.IMAGE_FORMAT_RAW)
PROMPTS = ("a red apple", "a smiling sun", "a blue star", "a green tree")


@dataclass
class Callers:
    """Callers of every kind, and what became of their calls."""

    client: AsyncClient
    ends: float
    reference: dict[tuple[str, int], bytes] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter)

    def spec(self, prompt: str, steps: int, **fields: int) -> v1.GenerationSpec:
        return v1.GenerationSpec(prompt=prompt, seed=7, num_inference_steps=steps, output=RAW, **fields)

    async def learn(self) -> None:
        """The bytes of some pictures, each drawn alone."""
        for prompt in PROMPTS[:2]:
            for steps in (3, 6):
                self.reference[prompt, steps] = await self.draw(prompt, steps)

    async def draw(self, prompt: str, steps: int) -> bytes:
        request = v1.GenerateImageRequest(spec=self.spec(prompt, steps))
        return (await self.client.generate_image(request, timeout=900)).images[0].image.content

    async def live(self, seed: int) -> None:
        """One call after the other."""
        chance = random.Random(seed)
        while time.monotonic() < self.ends:
            try:
                self.outcomes[await self.call(chance)] += 1
            except Overloaded:
                self.outcomes["refused, full"] += 1
                await asyncio.sleep(0.05)
            except DeadlineExceeded as error:
                self.outcomes["refused, deadline" if error.reason == "DEADLINE_TOO_SHORT" else "expired"] += 1

    async def call(self, chance: random.Random) -> str:
        if chance.random() < CANCELS:
            return await self.leave(chance)
        if chance.random() < 0.1:
            prompt, steps = chance.choice(list(self.reference))
            assert await self.draw(prompt, steps) == self.reference[prompt, steps], "company changed a picture"
            return "equal"
        timeout = chance.choice([900, 900, 900, 5.0, 0.5])
        spec = self.spec(chance.choice(PROMPTS), chance.randint(1, 12), num_images=chance.randint(1, 3))
        spec.guidance_scale = chance.choice([1.0, 3.0])
        await self.client.generate_image(v1.GenerateImageRequest(spec=spec), timeout=timeout)
        return "drawn"

    async def leave(self, chance: random.Random) -> str:
        """Goes after some events, at whatever moment that is."""
        events = chance.randint(0, 12)
        if chance.random() < 0.2:
            walk = v1.StreamAnimateLatentsRequest(
                keyframes=[v1.LatentKeyframe(prompt=prompt) for prompt in PROMPTS[:2]],
                num_inference_steps=2,
                duration=Duration(seconds=4),
                format=chance.choice([image_pb2.VIDEO_FORMAT_MP4, image_pb2.VIDEO_FORMAT_WEBP]),
            )
            stream = self.client.stream_animate_latents(walk, timeout=900)
        else:
            spec = self.spec(chance.choice(PROMPTS), chance.randint(4, 40), num_images=chance.randint(1, 4))
            request = v1.StreamGenerateImageRequest(spec=spec, preview_interval=3)
            stream = self.client.stream_generate_image(request, timeout=900)  # type: ignore[assignment]
        async with aclosing(stream):
            async for _ in stream:
                events -= 1
                if events <= 0:
                    break
        return "left"


async def kill_clients(address: str, ends: float) -> int:
    """How many client processes were killed in the middle of their calls."""
    killed, chance = 0, random.Random(5)
    while killed == 0 or time.monotonic() < ends:
        client = await asyncio.create_subprocess_exec(
            sys.executable, str(Path(__file__).with_name("soak_client.py")), address, stdout=subprocess.PIPE
        )
        assert client.stdout is not None
        assert await client.stdout.readline() == b"ready\n"
        await asyncio.sleep(chance.uniform(0.5, 3.0))
        client.kill()
        await client.wait()
        killed += 1
    return killed


@asynccontextmanager
async def generator(folder: Path) -> AsyncIterator[tuple[ServiceProcess, int]]:
    metrics = free_port()
    flags = ["--metrics-port", str(metrics), "--max-rows", "4", "--max-running", "12", "--log-level", "warning"]
    process = ServiceProcess("generator", free_port(), folder / "generator.log", flags)
    process.start()
    try:
        await asyncio.to_thread(process.wait_ready)
        yield process, metrics
    finally:
        assert await asyncio.to_thread(process.stop) == 0, process.tail()


def metrics_of(port: int) -> dict[str, float]:
    page = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30).read().decode()
    totals: Counter[str] = Counter()
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            totals[sample.name] += sample.value
    return dict(totals)


def resident_mib(process: ServiceProcess) -> float:
    assert process.process is not None
    status = Path(f"/proc/{process.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


async def test_nothing_leaks_and_nobody_suffers(tmp_path: Path) -> None:
    async with generator(tmp_path) as (process, metrics), AsyncClient(generator_address=process.address) as client:
        # First as it will go on, so that what is allocated once is allocated.
        callers = Callers(client, time.monotonic() + min(SECONDS, 60) / 2)
        await callers.learn()
        await asyncio.gather(*(callers.live(seed) for seed in range(CALLERS)))
        idle_tasks, before = (await settled(metrics))["diptych_tasks"], resident_mib(process)

        callers.ends = time.monotonic() + SECONDS
        *_, killed = await asyncio.gather(
            *(callers.live(100 + seed) for seed in range(CALLERS)), kill_clients(process.address, callers.ends)
        )
        after = await settled(metrics)
        grown = resident_mib(process) - before
        steps = int(after["diptych_step_duration_seconds_count"])
        print(f"\n{dict(callers.outcomes)}, {killed} clients killed, {steps} steps, {grown:+.0f} MiB of {before:.0f}")
        assert killed >= 1
        assert callers.outcomes["left"] and callers.outcomes["drawn"]
        assert after["diptych_tasks"] <= idle_tasks + 2
        assert grown < MOST_GROWTH_MIB, f"{grown:.0f} MiB more than at the beginning"
        for (prompt, count), content in callers.reference.items():
            assert await callers.draw(prompt, count) == content
        assert await client.health("generator"), "it does not serve any more"
        assert "Traceback" not in process.log.read_text()


async def settled(metrics: int) -> dict[str, float]:
    """The metrics once nobody is served any more; fails when that does not come."""
    wanted = ("diptych_requests_in_flight", "diptych_rows_running", "diptych_queue_waiting", "diptych_permits_held")
    ends = time.monotonic() + SETTLE_SECONDS
    while True:
        now = await asyncio.to_thread(metrics_of, metrics)
        if not any(now.get(name, 0) for name in wanted):
            return now
        left = {name: now[name] for name in wanted if now.get(name)}
        assert time.monotonic() < ends, f"still there after all callers went: {left}"
        await asyncio.sleep(0.1)
