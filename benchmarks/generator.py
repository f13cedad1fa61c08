"""What the generator costs, and what its batching brings, on this machine and in one run.

    python -m benchmarks.generator [--only single load serving] [--threads N] [--requests N] [--runs N]

single   one picture: diffusers eager and compiled against ours, on the same weights
load     requests as a Poisson stream: continuous batching, two ways of batching whole requests, one at a time
serving  what the service adds to the bare loop, its memory, and the `diptych generate` command
"""

import argparse
import asyncio

from rich.console import Console

from benchmarks import generator_load, generator_serving, generator_single
from benchmarks.measuring import machine

PARTS = {"single": generator_single.measure, "load": generator_load.measure, "serving": generator_serving.measure}


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts to run (default: all)")
    parser.add_argument("--threads", type=int, default=0, help="threads for each engine; 0 for all cores")
    parser.add_argument("--requests", type=int, default=64, help="requests of a stream (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=10, help="measured runs of each (default: %(default)s)")
    compiling = argparse.BooleanOptionalAction
    parser.add_argument("--compile", action=compiling, default=True, help="torch.compile too; it takes minutes")
    given = parser.parse_args()
    console = Console(width=120)
    console.print(machine())
    for name in given.only:
        await PARTS[name](console, given)


if __name__ == "__main__":
    asyncio.run(main())
