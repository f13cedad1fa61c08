"""The `diptych` command, put together."""

from importlib.metadata import version
from typing import Annotated

import typer

from diptych.cli.animate import animate
from diptych.cli.animate_latents import animate_latents
from diptych.cli.create import create
from diptych.cli.edit import analyze, edit
from diptych.cli.generate import generate
from diptych.cli.models import models
from diptych.cli.plan import plan
from diptych.cli.serve import serve

app = typer.Typer(
    epilog="Environment: DIPTYCH_ADDRESS, DIPTYCH_GENERATOR_ADDRESS, DIPTYCH_EDITOR_ADDRESS (host:port); "
    "DIPTYCH_TOKEN; DIPTYCH_TLS_CA, DIPTYCH_CLIENT_CERT, DIPTYCH_CLIENT_KEY (PEM files). "
    "Exit codes: 0 done, 2 usage or bad input, 3 clarification needed, 4 service unavailable, 1 anything else.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _tell(asked: bool) -> None:
    if asked:
        print(f"diptych {version('diptych')}")
        raise typer.Exit


@app.callback()
def diptych(
    told: Annotated[
        bool, typer.Option("--version", callback=_tell, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Pictures from sentences: plan, generate and edit through diptych's services."""


for command in (serve, create, plan, generate, animate_latents, animate, edit, analyze):
    app.command()(command)
app.add_typer(models, name="models")
