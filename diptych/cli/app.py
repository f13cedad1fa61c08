"""The `diptych` command, put together."""

import typer

from diptych.cli.create import create
from diptych.cli.edit import analyze, edit
from diptych.cli.generate import generate
from diptych.cli.models import models
from diptych.cli.plan import plan
from diptych.cli.serve import serve

app = typer.Typer(
    help="Pictures from sentences: plan, generate and edit through diptych's services.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (serve, create, plan, generate, edit, analyze):
    app.command()(command)
app.add_typer(models, name="models")
