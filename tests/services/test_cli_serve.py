"""`diptych serve` with real service processes, and a planner of the command's own."""

import asyncio
import json
import os
import re
import signal
import socket
import sys
from pathlib import Path

import pytest

from diptych import AsyncClient, ServiceUnavailable
from diptych.cli.processes import ServiceProcess, flags_for_all


def environment(**more: str) -> dict[str, str]:
    kept = {"DIPTYCH_CACHE", "DIPTYCH_MODELS"}
    plain = {key: value for key, value in os.environ.items() if key in kept or not key.startswith("DIPTYCH_")}
    return {**plain, **more}


async def start(*arguments: str, **more: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from diptych.cli import main; main()",
        *arguments,
        env=environment(**more),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def line_with(stream: asyncio.StreamReader | None, pattern: str) -> re.Match[str]:
    assert stream is not None
    seen = []
    async with asyncio.timeout(120):
        while raw := await stream.readline():
            seen.append(raw.decode().rstrip())
            if match := re.search(pattern, seen[-1]):
                return match
    raise AssertionError(f"no line with {pattern}: {seen}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
async def test_a_service_is_served_and_drained_by_a_signal(number: signal.Signals) -> None:
    process = await start("serve", "editor", "--", "--port", "0", "--log-level", "warning")
    ready = await line_with(process.stdout, r"^editor \| ready editor (\S+)$")
    async with AsyncClient(editor_address=ready[1]) as client:
        assert await client.health("editor")
    process.send_signal(number)
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    assert out.decode().splitlines()[-1] == "stopped"
    async with AsyncClient(editor_address=ready[1]) as client:
        with pytest.raises(ServiceUnavailable):
            await client.health("editor")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells a child of its parent's death")
async def test_no_service_outlives_a_command_that_is_killed() -> None:
    process = await start("serve", "editor", "--", "--port", "0", "--log-level", "warning")
    ready = await line_with(process.stdout, r"ready editor (\S+)$")
    process.kill()
    await process.communicate()
    async with AsyncClient(editor_address=ready[1]) as client, asyncio.timeout(30):
        while True:
            try:
                await client.health("editor", timeout=1)
            except ServiceUnavailable:
                break
            await asyncio.sleep(0.05)


async def test_a_service_that_cannot_start_ends_all_of_them() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ports = {f"DIPTYCH_{name}_PORT": port for name in ("GENERATOR", "EDITOR", "ORCHESTRATOR")}
        process = await start("serve", **ports)
        out, err = await process.communicate()
    assert process.returncode == 1
    assert re.search(r"^error: the \w+ ended with exit code 1$", err.decode(), re.MULTILINE)
    assert f"127.0.0.1:{port}" in out.decode(), "the service's own words are shown"


async def test_a_bad_flag_is_the_services_to_explain() -> None:
    process = await start("serve", "orchestrator", "--", "--port", "many")
    out, err = await process.communicate()
    assert process.returncode == 1
    assert "orchestrator | " in out.decode()
    assert "--port" in out.decode()
    assert "the orchestrator ended with exit code 2" in err.decode()


async def test_a_process_that_dies_early_is_told_with_its_last_line() -> None:
    process = ServiceProcess("editor", ["--no-such-flag"])
    async with process:
        with pytest.raises(ServiceUnavailable, match=r"the editor ended with exit code 2: .*no-such-flag") as dead:
            await process.ready(60)
    assert dead.value.reason == "SERVICE_NOT_STARTED"


async def test_a_process_that_is_slow_to_start_is_stopped() -> None:
    process = ServiceProcess("editor", ["--port", "0"])
    async with process:
        with pytest.raises(ServiceUnavailable, match=r"was not ready within 0\.01 s"):
            await process.ready(0.01)
    assert await process.ended() in (0, -signal.SIGTERM)


def test_all_three_know_one_another() -> None:
    flags = flags_for_all({"orchestrator": 1, "generator": 2, "editor": 3}, ["--engine", "fake"])
    assert flags["generator"] == ["--port", "2", "--engine", "fake"]
    assert flags["orchestrator"][-4:] == [
        "--generator-address",
        "127.0.0.1:2",
        "--editor-address",
        "127.0.0.1:3",
    ]


async def test_goals_are_planned_with_no_server_running() -> None:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", 50050)) == 0:
            pytest.skip("something listens on the default port, so no private planner is started")
    lines = [
        {"id": "a", "text": "draw a red apple icon", "has_image": False},
        {"id": 2, "text": "upscale this four times", "has_image": True},
    ]
    # What a shared server needs must not keep the private one from starting.
    process = await start("plan", "--jsonl", DIPTYCH_TOKENS_FILE="/nowhere", DIPTYCH_PORT="1")
    out, err = await process.communicate("\n".join(map(json.dumps, lines)).encode())
    assert process.returncode == 0, err.decode()
    first, second = map(json.loads, out.decode().splitlines())
    assert (first["id"], first["route"], first["operations"]) == ("a", "GENERATE", ["generate"])
    assert (second["id"], second["route"], second["operations"]) == (2, "EDIT", ["upscale"])
    assert second["slots"]["scale"] == 4
    assert 0 < second["confidence"] <= 1


async def test_a_private_planner_that_cannot_start_says_why(tmp_path: Path) -> None:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", 50050)) == 0:
            pytest.skip("something listens on the default port, so no private planner is started")
    process = await start("plan", "draw a cat", "--json", DIPTYCH_MODELS=str(tmp_path))
    _, err = await process.communicate()
    assert process.returncode == 4
    error = json.loads(err)["error"]
    assert error["reason"] == "SERVICE_NOT_STARTED"
    assert "diptych-intent" in error["message"]
