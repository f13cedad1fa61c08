"""Calibrates the intent model on goals from templates it never saw, and writes REPORT.md.

python -m training.intent.evaluate --encoder FOLDER [--labelled FILE.jsonl]...
"""

import argparse
import json
import math
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.orchestrator.intent import Intent, IntentModel
from training.intent.dataset import goals
from training.intent.goals import OPERATIONS
from training.intent.train import SEED, TARGET

_PREFACE = """Written by `python -m training.intent.evaluate`. Times are of one thread of a busy machine.

The head that is shipped is trained on all templates. What it makes of phrasing it has not met is measured on its twin,
trained in the same way without a tenth of the templates; the twin's calibration is used for both. A fragment, a slip of
the finger or three steps in one sentence are much commoner among these goals than among those of people, so they are
harder than most; the labelled goals are other people's."""
Plan = tuple[str, tuple[str, ...]]


@dataclass(frozen=True)
class Case:
    """A goal, the plans that count as right (the first is the primary one), and what the model said."""

    text: str
    has_image: bool
    right: tuple[Plan, ...]
    groups: tuple[str, ...]
    intent: Intent
    milliseconds: float

    @property
    def said(self) -> Plan:
        return self.intent.route, tuple(operation.name for operation in self.intent.operations)

    @property
    def meant(self) -> Plan:
        """The right plan that agrees best with what was said."""
        return max(
            self.right, key=lambda plan: (plan[1] == self.said[1], plan[0] == self.said[0], _overlap(plan, self.said))
        )

    @property
    def exact(self) -> bool:
        return self.said in self.right


def _overlap(one: Plan, other: Plan) -> float:
    return 2 * len(set(one[1]) & set(other[1])) / max(1, len(one[1]) + len(other[1]))


def ask(model: IntentModel, text: str, has_image: bool, right: Iterable[Plan], groups: tuple[str, ...]) -> Case:
    """The case with the model's answer, timed."""
    start = time.perf_counter()
    intent = model.understand(text, has_image=has_image)
    return Case(text, has_image, tuple(right), groups, intent, (time.perf_counter() - start) * 1e3)


def unseen(model: IntentModel, count: int) -> list[Case]:
    """Goals from held-out templates."""
    return [
        ask(model, g.phrase.text, g.has_image, [(g.route, g.plan)], (f"kind {g.kind}", f"language {g.language}"))
        for g in goals(count, SEED, held_out=True)
    ]


def labelled(model: IntentModel, path: Path) -> list[Case]:
    """Goals of a labelled JSON-lines file; "accept" lists further right plans."""
    cases = []
    for line in path.read_text(encoding="utf-8").splitlines():
        item: dict[str, Any] = json.loads(line)
        right = [(label["route"], tuple(label["operations"])) for label in [item, *item.get("accept", [])]]
        groups = (f"source {item.get('source', '-')}", f"language {item.get('lang', 'en')}")
        cases.append(ask(model, item["text"], item["has_image"], right, groups))
    return cases


def figures(cases: list[Case]) -> dict[str, float]:
    """Mean recall of the routes, operation precision, recall and F1, exact ordered plans."""
    routes: dict[str, list[bool]] = defaultdict(list)
    hits = said = meant = 0
    for case in cases:
        routes[case.meant[0]].append(case.said[0] == case.meant[0])
        hits += len(set(case.said[1]) & set(case.meant[1]))
        said += len(case.said[1])
        meant += len(case.meant[1])
    several = [case for case in cases if len(case.meant[1]) > 1]
    precision, recall = hits / max(1, said), hits / max(1, meant)
    return {
        "goals": len(cases),
        "route recall, mean": sum(sum(r) / len(r) for r in routes.values()) / len(routes),
        "operation precision": precision,
        "operation recall": recall,
        "operation F1": 2 * precision * recall / max(1e-9, precision + recall),
        "exact ordered plan": sum(c.exact for c in cases) / len(cases),
        "exact, two steps or more": sum(c.exact for c in several) / max(1, len(several)),
        "p50 in ms": sorted(c.milliseconds for c in cases)[len(cases) // 2],
    }


def platt(cases: list[Case]) -> tuple[float, float]:
    """Slope and shift that make the confidence of plans a probability (gradient descent on log loss)."""
    rows = [(_logit(c.intent.confidence), float(c.exact)) for c in cases if c.intent.route != "CLARIFY"]
    slope, shift = 1.0, 0.0
    for _ in range(3000):
        grads = [0.0, 0.0]
        for x, right in rows:
            error = 1 / (1 + math.exp(-(slope * x + shift))) - right
            grads[0] += error * x / len(rows)
            grads[1] += error / len(rows)
        slope, shift = slope - 0.3 * grads[0], shift - 0.3 * grads[1]
    return slope, shift


def _logit(probability: float) -> float:
    clipped = min(max(probability, 1e-6), 1 - 1e-6)
    return math.log(clipped / (1 - clipped))


def reliability(cases: list[Case]) -> list[tuple[str, int, float, float]]:
    """For each tenth of confidence: range, plans, mean confidence, share that is right."""
    bins: dict[int, list[Case]] = defaultdict(list)
    for case in cases:
        if case.intent.route != "CLARIFY":
            bins[min(9, int(case.intent.confidence * 10))].append(case)
    return [
        (f"0.{b} to {(b + 1) / 10:.1f}", len(g), _mean(c.intent.confidence for c in g), _mean(c.exact for c in g))
        for b, g in sorted(bins.items())
    ]  # fmt: skip


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / max(1, len(found))


def kind_of_error(case: Case) -> str:
    """A name for how the plan is wrong."""
    said, meant = case.said, case.meant
    if said[0] == "CLARIFY":
        return f"asked ({case.intent.reason}) where {meant[0]} was meant"
    if meant[0] == "CLARIFY":
        return f"did {said[0]} where it should have asked"
    if set(said[1]) == set(meant[1]):
        return "right operations, wrong order"
    missing, extra = set(meant[1]) - set(said[1]), set(said[1]) - set(meant[1])
    if missing and extra:
        return (
            f"{'+'.join(sorted(missing))} read as {'+'.join(sorted(extra))}"
            if len(missing | extra) == 2
            else "several wrong"
        )
    return f"missed {'+'.join(sorted(missing))}" if missing else f"added {'+'.join(sorted(extra))}"


def per_operation(cases: list[Case]) -> list[tuple[str, int, float, float]]:
    """Name, times meant, recall, precision."""
    meant, hit, said = Counter[str](), Counter[str](), Counter[str]()
    for case in cases:
        meant.update(case.meant[1])
        said.update(case.said[1])
        hit.update(set(case.meant[1]) & set(case.said[1]))
    return [(n, meant[n], hit[n] / max(1, meant[n]), hit[n] / max(1, said[n])) for n in OPERATIONS]


def _table(head: str, rows: Iterable[Iterable[object]]) -> str:
    columns = head.split(" | ")
    lines = [f"| {head} |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(f"{v:.3f}" if isinstance(v, float) else str(v) for v in row) + " |" for row in rows]
    return "\n".join(lines)


def section(title: str, cases: list[Case], errors: int) -> str:
    """One set's figures as Markdown."""
    groups: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        for group in case.groups:
            groups[group].append(case)
    kinds = Counter(kind_of_error(case) for case in cases if not case.exact)
    parts = [
        f"## {title}",
        _table("figure | value", [(k, v if k != "goals" else int(v)) for k, v in figures(cases).items()]),
        _table(
            "group | goals | route | exact plan",
            [
                (n, len(g), _mean(c.said[0] == c.meant[0] for c in g), _mean(c.exact for c in g))
                for n, g in sorted(groups.items())
            ],
        ),
        _table("operation | meant | recall | precision", [row for row in per_operation(cases) if row[1]]),
        _table("confidence | plans | mean | right", reliability(cases)),
        _table("kind of error | times", kinds.most_common(errors)),
    ]
    return "\n\n".join(parts)


def calibrate(folder: Path, twin: Path, encoder: Path, cases: int, clarify_below: float) -> list[Case]:
    """Fits the confidence of `twin` on every second unseen goal, writes it to both folders' intent.json.

    Gives back the other half of the goals, read with the fitted confidence.
    """
    _settle(twin, [1.0, 0.0], 0.0)
    model = IntentModel.load(twin, encoder)
    fitted = [round(value, 4) for value in platt(unseen(model, cases)[::2])]
    model.close()
    for target in {folder, twin}:
        _settle(target, fitted, clarify_below)
    model = IntentModel.load(twin, encoder)
    rest = unseen(model, cases)[1::2]
    model.close()
    return rest


def _settle(folder: Path, calibration: list[float], clarify_below: float) -> None:
    path = folder / "intent.json"
    settings = json.loads(path.read_text()) | {"calibration": calibration, "clarify_below": clarify_below}
    path.write_text(json.dumps(settings, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", type=Path, required=True)
    parser.add_argument("--model", type=Path, default=TARGET)
    parser.add_argument("--labelled", type=Path, action="append", default=[])
    parser.add_argument("--goals", type=int, default=3000)
    parser.add_argument("--twin", type=Path, help="a head trained without the held-out templates; default: the model")
    parser.add_argument("--clarify-below", type=float, default=0.12, help="confidence below which the model asks")
    parser.add_argument("--report", type=Path, default=Path(__file__).parent / "REPORT.md")
    options = parser.parse_args()
    twin = options.twin or options.model
    rest = calibrate(options.model, twin, options.encoder, options.goals, options.clarify_below)
    model = IntentModel.load(options.model, options.encoder)
    parts = [
        "# The intent model, measured",
        _PREFACE,
        section("Goals from templates that training never saw", rest, 25),
    ]
    for path in options.labelled:
        parts.append(section(f"Labelled goals: {path.name} (never trained on)", labelled(model, path), 40))
    if len(options.labelled) > 1:
        together = [case for path in options.labelled for case in labelled(model, path)]
        parts.append(section("All labelled goals together", together, 0).split("\n\n| group")[0])
    options.report.write_text("\n\n".join(parts) + "\n")
    print(parts[2].split("\n\n| group")[0], parts[-1][:900], sep="\n")


if __name__ == "__main__":
    main()
