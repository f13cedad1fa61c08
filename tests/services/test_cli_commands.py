"""The command as a process against a real server: what it writes, and its exit codes."""

import asyncio
import io
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from tests.services.client_peer import Peer, serving

NOBODY = "127.0.0.1:1"


@dataclass
class Ended:
    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        return self.out.decode()


class Command:
    """Runs `diptych` in a directory of its own."""

    def __init__(self, folder: Path, address: str) -> None:
        self.folder = folder
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("DIPTYCH_")}
        if address:
            self.environment["DIPTYCH_ADDRESS"] = address

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            "from diptych.cli import main; main()",
            *arguments,
            cwd=self.folder,
            env=self.environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def __call__(self, *arguments: str, stdin: bytes = b"") -> Ended:
        process = await self.start(*arguments)
        out, err = await process.communicate(stdin)
        assert process.returncode is not None
        return Ended(process.returncode, out, err.decode())


@pytest.fixture
async def peer() -> Peer:
    return Peer()


@pytest.fixture
async def diptych(tmp_path: Path, peer: Peer) -> AsyncIterator[Command]:
    Image.new("RGB", (4, 3)).save(tmp_path / "in.png")
    async with serving(peer) as address:
        yield Command(tmp_path, address)


@pytest.fixture
def alone(tmp_path: Path) -> Command:
    Image.new("RGB", (4, 3)).save(tmp_path / "in.png")
    return Command(tmp_path, "")


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


async def test_create_writes_the_picture_and_tells_who_made_it(diptych: Command) -> None:
    done = await diptych("create", "draw an apple", "-o", "apple.png")
    assert done.code == 0, done.err
    assert opened((diptych.folder / "apple.png").read_bytes()).size == (8, 6)
    header, first, second, marking, written = done.text.splitlines()
    assert header.split() == ["step", "service", "operation", "model", "(kind)", "time"]
    assert first.split() == ["1", "generator", "generate", "peer-generate", "(GENERATIVE)", "0.12", "s"]
    assert second.split()[3:5] == ["peer-upscale", "(ALGORITHM)"]
    assert marking == "marking: PARTLY_GENERATED (because of step 1)"
    assert written == "wrote apple.png (8 x 6 px)"


async def test_create_answers_a_question_about_a_picture(diptych: Command) -> None:
    done = await diptych("create", "what is in it?", "--image", "in.png")
    assert done.code == 0, done.err
    assert "#aa2030 dark red 75%" in done.text and "wrote" not in done.text
    found = json.loads((await diptych("create", "what is in it?", "--image", "in.png", "--json")).text)["findings"]
    assert found["1"]["lighting"]["exposure"] == -1.5


async def test_progress_is_plain_lines_where_there_is_no_terminal(diptych: Command) -> None:
    done = await diptych("create", "draw an apple", "-o", "apple.png")
    lines = done.err.splitlines()
    assert lines[0] == "plan: CHAIN (generate -> upscale), confidence 0.75"
    assert lines[1] == "step 1 generator generate: started"
    assert lines[2] == "step 1 generator generate: 25% step 1 of 4"
    assert lines[4].startswith("step 1 generator generate: done in")
    assert "\x1b" not in done.err + done.text


async def test_create_as_json_is_one_document_and_silent_otherwise(diptych: Command) -> None:
    done = await diptych("create", "make it big", "--image", "in.png", "-o", "big.webp", "--json")
    assert (done.code, done.err) == (0, "")
    result = json.loads(done.text)
    assert result["images"] == [{"path": "big.webp", "format": "WEBP", "width": 8, "height": 6, "seed": None}]
    assert result["marking"] == {"label": "PARTLY_GENERATED", "step_ids": ["1"]}
    assert result["plan"]["route"] == "EDIT"
    assert [record["operation"] for record in result["records"]] == ["upscale"]


async def test_without_an_output_nothing_is_overwritten(diptych: Command) -> None:
    for expected in ("result.png", "result_2.png"):
        done = await diptych("create", "draw an apple")
        assert f"wrote {expected} " in done.text


async def test_a_question_is_printed_with_its_answers(diptych: Command) -> None:
    done = await diptych("create", "clarify this", "-o", "x.png")
    assert done.code == 3
    assert done.err.splitlines()[-4:-1] == ["Which picture do you mean?", "  1. The first", "  2. A new one"]
    assert "--conversation" in done.err.splitlines()[-1]
    asked = await diptych("create", "clarify this", "-o", "x.png", "--json")
    error = json.loads(asked.err)["error"]
    assert asked.code == 3
    assert (error["reason"], error["options"]) == ("CLARIFICATION_NEEDED", ["The first", "A new one"])
    assert not (diptych.folder / "x.png").exists()


async def test_plan_shows_steps_and_runs_nothing(diptych: Command, peer: Peer) -> None:
    done = await diptych("plan", "draw an apple, bigger")
    assert done.code == 0
    assert "generate" in done.text
    assert "step 1" in done.text
    made = json.loads((await diptych("plan", "bigger", "--image", "in.png", "--json")).text)
    assert (made["route"], made["operations"], made["confidence"]) == ("EDIT", ["upscale"], 0.75)
    assert made["steps"][0]["inputs"] == ["image 0"]
    assert {type(request).__name__ for request in peer.requests} == {"PlanGoalRequest"}
    asked = await diptych("plan", "clarify", "--json")
    assert asked.code == 3
    assert json.loads(asked.text)["clarification"]["question"] == "Which picture do you mean?"


async def test_plan_lines_keep_their_order_and_their_ids(diptych: Command) -> None:
    goals = [{"id": n, "text": "odd" if n % 2 else "even", "has_image": n % 3 == 0} for n in range(40)]
    done = await diptych("plan", "--jsonl", stdin="\n".join(map(json.dumps, goals)).encode())
    assert done.code == 0, done.err
    plans = [json.loads(line) for line in done.text.splitlines()]
    assert [plan["id"] for plan in plans] == list(range(40))
    assert plans[3] == {
        "id": 3,
        "route": "EDIT",
        "operations": ["upscale"],
        "slots": {"object": "apple", "scale": 4},
        "confidence": 0.75,
    }
    assert plans[1]["route"] == "CHAIN"
    assert list(plans[3]) == ["id", "route", "operations", "slots", "confidence"]


async def test_bad_plan_lines_are_named_and_the_others_planned(diptych: Command) -> None:
    lines = [
        b'{"id": "a", "text": "draw"}',
        b"not json",
        b'{"text": "no id"}',
        b"",
        b'{"id": "b", "text": 7}',
        b'{"id": "c", "text": "draw", "has_image": "yes"}',
        b"[]",
        b'{"id": "\xff", "text": "draw"}',
        b'{"id": null, "text": "draw", "has_image": true}',
    ]
    done = await diptych("plan", "--jsonl", stdin=b"\n".join(lines))
    assert done.code == 2
    assert [json.loads(line)["id"] for line in done.text.splitlines()] == ["a", None]
    assert [line.split(":")[1].strip() for line in done.err.splitlines()] == [f"line {n}" for n in (2, 3, 5, 6, 7, 8)]


async def test_plan_lines_answer_before_the_input_ends(diptych: Command) -> None:
    process = await diptych.start("plan", "--jsonl")
    assert process.stdin is not None
    assert process.stdout is not None
    async with asyncio.timeout(20):
        for n in range(3):
            process.stdin.write(b'{"id": %d, "text": "draw"}\n' % n)
            assert json.loads(await process.stdout.readline())["id"] == n
        process.stdin.close()
        assert await process.wait() == 0


async def test_generate_passes_every_flag_on(diptych: Command, peer: Peer) -> None:
    flags = ["--seed", "5", "--steps", "3", "--guidance", "1.5", "--size", "16x8", "--count", "2"]
    flags += ["--negative", "dog", "--strength", "0.5", "--model", "m"]
    done = await diptych("generate", "a cat", "-o", "cat.jpg", "--init", "in.png", "--mask", "in.png", *flags)
    assert done.code == 0, done.err
    spec = peer.requests[-1].spec
    assert (spec.seed, spec.num_inference_steps, spec.guidance_scale, spec.num_images) == (5, 3, 1.5, 2)
    assert (spec.width, spec.height, spec.negative_prompt, spec.strength, spec.model) == (16, 8, "dog", 0.5, "m")
    assert spec.init_image.content == spec.mask_image.content == (diptych.folder / "in.png").read_bytes()
    assert opened((diptych.folder / "cat-2.jpg").read_bytes()).format == "JPEG"
    assert "wrote cat-1.jpg (16 x 8 px, seed 5)" in done.text


async def test_a_picture_to_stdout_is_all_that_stdout_gets(diptych: Command) -> None:
    for arguments in (("generate", "a cat"), ("create", "a cat", "--json"), ("edit", "in.png", "rotate:angle=90")):
        done = await diptych(*arguments, "-o", "-")
        assert done.code == 0, done.err
        assert opened(done.out).size == (8, 6)
        assert done.out.endswith(b"IEND\xaeB`\x82")
    assert (await diptych("generate", "a cat", "--count", "2", "-o", "-")).code == 2


async def test_edit_parses_operations_and_writes_by_suffix(diptych: Command, peer: Peer) -> None:
    done = await diptych("edit", "in.png", "remove_background", "upscale:scale=4", "crop:aspect=1:1", "-o", "out.webp")
    assert done.code == 0, done.err
    names = [one.WhichOneof("operation") for one in peer.requests[-1].spec.operations]
    assert names == ["remove_background", "upscale", "crop"]
    assert opened((diptych.folder / "out.webp").read_bytes()).format == "WEBP"


async def test_edit_says_how_the_file_is_written(diptych: Command, peer: Peer) -> None:
    options = ("--quality", "70", "--metadata", "strip_location")
    done = await diptych("edit", "in.png", "rotate:angle=90", "-o", "out.avif", *options)
    assert done.code == 0, done.err
    output = peer.requests[-1].spec.output
    assert (output.format, output.quality, output.metadata) == (5, 70, 2)
    assert opened((diptych.folder / "out.avif").read_bytes()).format == "AVIF"
    done = await diptych("edit", "in.png", "rotate:angle=90", "-o", "out.avif", "--metadata", "some")
    assert done.code == 2 and "strip_location" in done.err


async def test_animate_asks_for_a_film_and_writes_it(diptych: Command, peer: Peer) -> None:
    options = ("--motion", "orbit", "--duration", "1.5", "--fps", "30", "--no-parallax", "--max-side", "640")
    done = await diptych("animate", "in.png", *options, "-o", "film.webp")
    assert done.code == 0, done.err
    asked = peer.requests[-1]
    assert (asked.motion, asked.duration.ToMilliseconds(), asked.frames_per_second) == (4, 1500, 30)
    assert (asked.HasField("parallax"), asked.parallax, asked.max_side, asked.format) == (True, False, 640, 2)
    assert (diptych.folder / "film.webp").read_bytes() == b"film"
    assert "wrote film.webp (8 x 6 px, 2 frames" in done.text
    assert (await diptych("animate", "in.png", "--motion", "spin", "-o", "film.webp")).code == 2


async def test_analyze_tells_and_gives_json(diptych: Command) -> None:
    assert "#aa2030 dark red 75%" in (await diptych("analyze", "in.png")).text
    found = json.loads((await diptych("analyze", "in.png", "--json")).text)
    assert found["lighting"]["exposure"] == -1.5
    assert found["palette"] == [{"color": "#aa2030", "name": "dark red", "fraction": 0.75}]


REFUSED_BY_THE_SERVER = {
    "no picture": (["edit", "words.png", "upscale", "-o", "out.png"], "spec.image"),
    "unknown model": (["generate", "unknown model"], "available: a, b"),
}


@pytest.mark.parametrize("case", REFUSED_BY_THE_SERVER)
async def test_bad_input_that_the_server_finds_ends_with_2_and_one_line(diptych: Command, case: str) -> None:
    (diptych.folder / "words.png").write_text("only words")
    arguments, expected = REFUSED_BY_THE_SERVER[case]
    done = await diptych(*arguments)
    assert done.code == 2, done.err
    assert expected in done.err
    assert len([line for line in done.err.splitlines() if line.startswith("error: ")]) == 1


async def test_errors_as_json(diptych: Command) -> None:
    usage = json.loads((await diptych("create", "--json")).err)["error"]
    assert usage["reason"] == "USAGE"
    bad = json.loads((await diptych("edit", "in.png", "upscale:scale=x,width=y", "-o", "o.png", "--json")).err)["error"]
    assert [one["field"] for one in bad["violations"]] == ["upscale.scale", "upscale.width"]
    full = json.loads((await diptych("generate", "overloaded", "--json")).err)["error"]
    assert (full["code"], full["retry_after_seconds"]) == ("RESOURCE_EXHAUSTED", 1.5)


@pytest.mark.parametrize(
    "arguments",
    [["create", "x"], ["generate", "x"], ["edit", "in.png", "upscale", "-o", "o.png"], ["analyze", "in.png"]],
    ids=lambda arguments: arguments[0],
)
async def test_nobody_there_ends_with_4_and_says_what_to_do(alone: Command, arguments: list[str]) -> None:
    done = await alone(*arguments, "--address", NOBODY)
    assert done.code == 4
    (line,) = done.err.splitlines()
    assert line.startswith("error: ")
    assert f"at {NOBODY} cannot be reached" in line
    assert "diptych serve" in line


async def test_a_peer_behind_the_orchestrator_that_is_down_ends_with_4(diptych: Command) -> None:
    done = await diptych("create", "draw, then fail", "--json")
    assert done.code == 4
    assert json.loads(done.err)["error"]["metadata"]["service"] == "editor"


async def test_the_rest_ends_with_1(diptych: Command) -> None:
    slow = await diptych("create", "slow", "--timeout", "0.3")
    assert slow.code == 1
    assert "did not answer within 0.3 s" in slow.err
    full = await diptych("generate", "overloaded")
    assert full.code == 1
    assert "try again in 1.5 s" in full.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
async def test_a_signal_cancels_the_work_on_the_server(diptych: Command, peer: Peer, number: signal.Signals) -> None:
    process = await diptych.start("create", "slow")
    async with asyncio.timeout(20):
        await peer.waiting.acquire()
        process.send_signal(number)
        await peer.cancelled.acquire()
        _, err = await process.communicate()
    assert process.returncode == 1
    assert err.decode().splitlines()[-1] == "error: interrupted"


async def test_reading_goals_can_be_interrupted(diptych: Command) -> None:
    process = await diptych.start("plan", "--jsonl")
    assert process.stdin is not None
    assert process.stdout is not None
    async with asyncio.timeout(20):
        process.stdin.write(b'{"id": 1, "text": "draw"}\n')
        await process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
    assert process.returncode == 1
    assert err.decode().splitlines() == ["error: interrupted"]


async def test_token_and_tls_come_from_the_environment(diptych: Command, peer: Peer) -> None:
    diptych.environment["DIPTYCH_TOKEN"] = "open sesame"
    assert (await diptych("plan", "draw")).code == 0
    assert peer.headers["authorization"] == "Bearer open sesame"
    diptych.environment["DIPTYCH_TLS_CA"] = "gone.pem"
    done = await diptych("plan", "draw")
    assert done.code == 2
    assert "gone.pem cannot be read" in done.err


async def test_an_output_that_cannot_be_written_is_told_before_any_work(diptych: Command, peer: Peer) -> None:
    done = await diptych("create", "draw", "-o", "/proc/out.png")
    assert done.code == 2
    assert "/proc/out.png cannot be written" in done.err


async def test_the_version_is_told(alone: Command) -> None:
    done = await alone("--version")
    assert (done.code, done.text.split()[0]) == (0, "diptych") and done.text.split()[1][0].isdigit()
