"""What the generator costs, and what its batching brings, on this machine and in one run.

    python -m benchmarks.generator [--only PART ...] [--threads N] [--requests N] [--streams N] [--runs N] [--out DIR]

single    one picture: diffusers eager and compiled against ours, on the same weights
built     one picture with the denoiser as exported and as `diptych models build` fuses it
load70    requests as a Poisson stream at 70 % of capacity: continuous batching, two ways of batching whole requests,
load110   one at a time; and at 110 %
replay    the same without a machine: what the order and the width of calls can bring, and what they cannot
serving   what the service adds to the bare loop, its memory, and the `diptych generate` command

Writes generator.json, generator.md and generator.png.
"""

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from rich.console import Console

from benchmarks import generator_built, generator_load, generator_replay, generator_serving, generator_single
from benchmarks.generator_report import Outcome, table, write
from benchmarks.measuring import machine

PARTS: dict[str, Callable[[argparse.Namespace], Awaitable[list[Outcome]]]] = {
    "single": generator_single.measure,
    "built": generator_built.measure,
    "load70": partial(generator_load.measure, load=0.7),
    "load110": partial(generator_load.measure, load=1.1),
    "replay": generator_replay.measure,
    "serving": generator_serving.measure,
}


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts to run (default: all)")
    parser.add_argument("--threads", type=int, default=0, help="threads for each engine; 0 for all cores")
    parser.add_argument("--requests", type=int, default=64, help="requests of a stream (default: %(default)s)")
    parser.add_argument("--streams", type=int, default=2, help="streams at each load (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=10, help="measured runs of each (default: %(default)s)")
    compiling = argparse.BooleanOptionalAction
    parser.add_argument("--compile", action=compiling, default=True, help="torch.compile too; slow at first")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "benchmarks")
    given = parser.parse_args()
    console, line = Console(width=140), machine()
    console.print(line)
    found: dict[str, Outcome] = {}
    for name in given.only:
        outcomes = await PARTS[name](given)
        found |= {name if len(outcomes) == 1 else f"{name}-{number}": one for number, one in enumerate(outcomes)}
        for one in outcomes:
            console.print(table(one))
            for note in (*one.verdicts, *one.remarks):
                console.print(str(note))
    write(given.out, line, found)


if __name__ == "__main__":
    asyncio.run(main())
