"""`diptych create GOAL`: a picture from a sentence."""

from typing import Annotated

import typer

from diptych.cli import terminal
from diptych.cli.failures import run
from diptych.cli.files import STDOUT, output_format, write_pictures
from diptych.cli.findings import show_findings
from diptych.cli.options import (
    Address,
    AsJson,
    Conversation,
    Images,
    MaxSize,
    Output,
    Profile,
    Seed,
    Timeout,
    connect,
    max_bytes,
)
from diptych.types import CreateResult, Outcome


def create(
    goal: Annotated[str, typer.Argument(help="What you want, in plain words.", show_default=False)],
    image: Images = None,
    output: Output = None,
    max_size: MaxSize = None,
    conversation: Conversation = None,
    profile: Profile = None,
    seed: Seed = None,
    json: AsJson = False,
    address: Address = None,
    timeout: Timeout = None,
) -> None:
    """Make or edit a picture from a goal in plain words."""
    wanted, most = output_format(output), max_bytes(max_size)

    async def work() -> CreateResult:
        async with connect("orchestrator", address) as client:
            with terminal.watching(quiet=json) as on_event:
                return await client.create(
                    goal,
                    images=image or [],
                    format=wanted,
                    max_bytes=most,
                    conversation=conversation or "",
                    profile=profile or "",
                    seed=seed,
                    on_event=on_event,
                    timeout=timeout,
                )

    result = run(work())
    paths = write_pictures(result, output, result.films)
    if json:
        seconds = {"total": result.total_seconds, "compute": result.compute_seconds}
        fields = terminal.result_json(
            result,
            paths,
            records=result.records,
            marking=result.marking,
            plan=result.plan,
            seconds=seconds,
            outcomes=[outcome_json(outcome) for outcome in result.outcomes],
            findings=result.findings,
        )
        terminal.print_json(fields, stderr=output == STDOUT)
        return
    out = terminal.console(stderr=output == STDOUT)
    deciding = {condition.step_id for step in result.plan.message.steps for condition in step.only_if}
    for step_id, found in result.findings.items():
        if step_id not in deciding:
            show_findings(out, found)
    terminal.show_records(out, result.records, result.marking)
    terminal.show_written(out, result, paths)
    for outcome in result.outcomes:
        if outcome.failure is not None:
            out.print(f"picture {outcome.goal_image}: {outcome.failure.message}", soft_wrap=True)


def outcome_json(outcome: Outcome) -> dict[str, object]:
    """What became of one picture, as `--json` prints it."""
    failure = outcome.failure
    return {
        "goal_image": outcome.goal_image,
        "images": list(outcome.images),
        "films": list(outcome.films),
        "failure": {"code": failure.code_name, "message": failure.message} if failure is not None else None,
    }
