"""What the generator costs, and what its batching brings, on this machine and in one run.

    python -m benchmarks.generator [--only PART ...] [--model DIR --device cuda] [--requests N] [--runs N] [--out DIR]

single    one picture: diffusers eager and compiled against ours, on the same weights
built     one picture with the denoiser as exported and as `diptych models build` fuses it
whole     one picture from text to pixels with a model of full size: diffusers' pipeline against ours
loop      what batching at every step adds to the bare loop
load70    requests as a Poisson stream at 70 % of capacity: continuous batching, two ways of batching whole requests,
load110   one at a time; and at 110 %
replay    the same without a machine: what the order and the width of calls can bring, and what they cannot
serving   what the service adds to the bare loop, its memory, and the `diptych generate` command

`--model` is a folder that `python -m benchmarks.generator_full` filled, for the parts whole, loop, load70 and load110;
others, and these without it, measure the default model. Writes generator.json, generator.md and generator.png.
"""

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from rich.console import Console

from benchmarks import (
    generator_built,
    generator_load,
    generator_loop,
    generator_replay,
    generator_serving,
    generator_single,
    generator_whole,
)
from benchmarks.generator_report import Outcome, table, write
from benchmarks.generator_subject import close_stage
from benchmarks.measuring import machine
from diptych.engines.cuda import driver

PARTS: dict[str, Callable[[argparse.Namespace], Awaitable[list[Outcome]]]] = {
    "single": generator_single.measure,
    "whole": generator_whole.measure,
    "built": generator_built.measure,
    "loop": generator_loop.measure,
    "load70": partial(generator_load.measure, load=0.7),
    "load110": partial(generator_load.measure, load=1.1),
    "replay": generator_replay.measure,
    "serving": generator_serving.measure,
}


FULL = ["whole", "loop", "load70", "load110"]


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, help="parts to run (default: all for the model)")
    parser.add_argument("--threads", type=int, default=0, help="threads for each engine; 0 for all cores")
    parser.add_argument("--requests", type=int, default=64, help="requests of a stream (default: %(default)s)")
    parser.add_argument("--streams", type=int, default=2, help="streams at each load (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=10, help="measured runs of each (default: %(default)s)")
    parser.add_argument("--model", type=Path, help="a folder filled by benchmarks.generator_full")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where diffusers draws")
    parser.add_argument("--half", action=argparse.BooleanOptionalAction, default=True, help="ours in half precision")
    parser.add_argument("--unet", type=Path, help="another half-precision graph of the same denoiser")
    parser.add_argument("--ways", nargs="+", default=list(generator_load.WAYS), choices=generator_load.WAYS)
    parser.add_argument("--sizes", nargs="+", type=int, default=[], help="samples in a call, any when not given")
    milliseconds = ("FIXED", "EACH")
    parser.add_argument("--call", nargs=2, type=float, metavar=milliseconds, help="of another machine, to replay")
    parser.add_argument("--seconds", type=float, default=0, help="fewer requests where they would take longer")
    compiling = argparse.BooleanOptionalAction
    parser.add_argument("--compile", action=compiling, default=True, help="torch.compile too; slow at first")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "benchmarks")
    given = parser.parse_args()
    if given.only is None:
        given.only = FULL if given.model else [name for name in PARTS if name != "whole"]
    if given.model is None and "whole" in given.only:
        parser.error("the part whole needs --model")
    console, line = Console(width=140), machine()
    if given.device == "cuda":
        line = f"{line} · {driver().name}"
    console.print(line)
    found: dict[str, Outcome] = {}
    for name in given.only:
        outcomes = await PARTS[name](given)
        if given.model:
            outcomes = [replace(one, title=f"Stable Diffusion 1.5: {one.title}") for one in outcomes]
            name = f"{given.device}-{name}"
        elif given.call:
            name = f"{name}-of-another"
        found |= {name if len(outcomes) == 1 else f"{name}-{number}": one for number, one in enumerate(outcomes)}
        write(given.out, line, found)
        for one in outcomes:
            console.print(table(one))
            for note in (*one.verdicts, *one.remarks):
                console.print(str(note))
    await close_stage()


if __name__ == "__main__":
    asyncio.run(main())
