"""`diptych plan`: what would be done for a goal, or for many, without doing it."""

from typing import Annotated

import typer

from diptych.cli import terminal
from diptych.cli.failures import CLARIFY, USAGE, run
from diptych.cli.options import Address, AsJson, Conversation, Images, Profile, Seed, Timeout
from diptych.cli.plan_lines import plan_lines
from diptych.cli.planning import planner
from diptych.errors import InvalidRequest
from diptych.plans import Plan


def plan(
    goal: Annotated[str | None, typer.Argument(help="What you want, in plain words.", show_default=False)] = None,
    image: Images = None,
    json: AsJson = False,
    jsonl: Annotated[
        bool,
        typer.Option("--jsonl", help='Plan each line {"id", "text", "has_image"} of stdin; write a line each.'),
    ] = False,
    conversation: Conversation = None,
    profile: Profile = None,
    seed: Seed = None,
    address: Address = None,
    timeout: Timeout = None,
) -> None:
    """Show what would be done for a goal. Runs nothing; starts a planner of its own when none is running."""
    if jsonl:
        if goal is not None or image:
            raise InvalidRequest.single("jsonl", "goals come from stdin; leave GOAL and --image out")
        if not run(_plan_lines(address, timeout)):
            raise typer.Exit(USAGE)
        return
    if goal is None:
        raise InvalidRequest.single("goal", "is missing; write diptych plan GOAL, or --jsonl to read goals from stdin")

    async def work() -> Plan:
        async with planner(address) as client:
            return await client.plan(
                goal,
                images=image or [],
                conversation=conversation or "",
                profile=profile or "",
                seed=seed,
                timeout=timeout,
            )

    made = run(work())
    if json:
        terminal.print_json(plan_json(made))
    else:
        _show(made)
    if made.route == "CLARIFY":
        raise typer.Exit(CLARIFY)


async def _plan_lines(address: str | None, timeout: float | None) -> bool:
    async with planner(address) as client:
        return await plan_lines(client, timeout=timeout)


def plan_json(made: Plan) -> dict[str, object]:
    """A plan as `--json` prints it; `operations` are those asked for, `steps` those that will run."""
    asked = made.clarification
    options = [{"label": option.label, "needs_image": option.needs_image} for option in asked.options] if asked else []
    return {
        "route": made.route,
        "operations": list(made.reading.operations),
        "slots": dict(made.slots),
        "confidence": round(made.confidence, 6),
        "why": made.why,
        "reading": made.reading,
        "steps": made.steps,
        "clarification": {"question": asked.question, "options": options} if asked else None,
        "digest": made.digest,
        "estimated_seconds": made.estimated_seconds,
        "seed": made.seed,
        "profile": made.profile,
    }


def _show(made: Plan) -> None:
    out = terminal.console()
    out.print(terminal.plan_line(made))
    if made.why:
        out.print(made.why, soft_wrap=True)
    if made.clarification:
        out.print(made.clarification.question, soft_wrap=True)
        for number, option in enumerate(made.clarification.options, 1):
            out.print(f"  {number}. {option.label}" + (" (attach a picture)" if option.needs_image else ""))
    if made.slots:
        out.print("read: " + ", ".join(f"{name} = {value}" for name, value in sorted(made.slots.items())))
    if made.steps:
        rows = [
            (s.id, s.service, s.operation, ", ".join(s.inputs) or "nothing", _time(s.estimated_seconds), s.reason)
            for s in made.steps
        ]
        terminal.show_table(out, ("step", "service", "operation", "takes", "time", "why"), rows)
    if made.estimated_seconds is not None:
        out.print(f"about {_time(made.estimated_seconds)} in all")


def _time(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.1f} s" if seconds < 60 else f"{seconds / 60:.1f} min"
