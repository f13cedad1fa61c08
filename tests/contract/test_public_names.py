"""What `import diptych` promises, and what it must not bring along."""

import importlib
import json
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

import diptych

ROOT = Path(__file__).resolve().parents[2]
PUBLIC = [
    "AnalyzeResult",
    "AsyncClient",
    "Cancelled",
    "ClarificationNeeded",
    "Client",
    "Constraint",
    "CreateResult",
    "DataCorrupted",
    "DeadlineExceeded",
    "DiptychError",
    "EditResult",
    "Event",
    "FailedPrecondition",
    "FieldViolation",
    "Film",
    "FilmResult",
    "GenerateResult",
    "InternalError",
    "InvalidRequest",
    "Marking",
    "ModelInfo",
    "ModelNotFound",
    "ModelNotPulled",
    "ModelUse",
    "NotFound",
    "Outcome",
    "Overloaded",
    "PermissionDenied",
    "Picture",
    "Plan",
    "PlanMade",
    "PlanStep",
    "Record",
    "Reference",
    "ServiceUnavailable",
    "StepFinished",
    "StepPreview",
    "StepProgress",
    "StepStarted",
    "Tls",
    "Unauthenticated",
    "Unsupported",
    "operation",
    "parse_operation",
]
COMMANDS = {
    "serve": {"service", "flags"},
    "create": {"goal", "image", "output", "conversation", "profile", "seed", "json", "address", "timeout", "max_size"},
    "plan": {"goal", "image", "json", "jsonl", "conversation", "profile", "seed", "address", "timeout"},
    "generate": {
        *("prompt", "output", "seed", "steps", "guidance", "size", "count", "negative", "init", "strength", "mask"),
        *("reference", "reference_scale", "constraint", "constraint_scale", "schedule"),
        *("model", "json", "address", "timeout", "max_size"),
    },
    "animate_latents": {
        *("prompts", "output", "seed", "duration", "fps", "loop", "steps", "guidance", "size", "negative", "model"),
        *("json", "address", "timeout"),
    },
    "animate": {
        *("file", "output", "motion", "amount", "duration", "fps", "parallax", "direction", "max_side", "json"),
        *("address", "timeout"),
    },
    "edit": {
        *("file", "operations", "output", "quality", "json", "lossless", "metadata", "address", "timeout", "max_size"),
        "dpi",
    },
    "analyze": {"file", "json", "address", "timeout"},
}
# What the SDK and the command are free of, so that they install in seconds and start at once.
HEAVY = ("onnxruntime", "torch", "diffusers", "cv2", "onnx", "transformers", "diptych.engines", "diptych.diffusion")


def test_the_public_names_are_these() -> None:
    assert sorted(diptych.__all__) == sorted(PUBLIC)
    assert set(PUBLIC) <= set(dir(diptych))


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_is_there(name: str) -> None:
    assert getattr(diptych, name) is not None


def test_an_unknown_name_is_told() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Painter'"):
        _ = diptych.Painter  # type: ignore[attr-defined]


def imported_by(statement: str) -> set[str]:
    code = f"{statement}\nimport sys, json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_the_package_loads_next_to_nothing() -> None:
    loaded = imported_by("import diptych")
    assert not {name for name in loaded if name.split(".")[0] in {"grpc", "google", "numpy", "PIL", "typer", "rich"}}


@pytest.mark.parametrize(
    "statement",
    [
        "from diptych import *",
        "import diptych.client, diptych.sync, diptych.types, diptych.errors, diptych.images, diptych.operations",
        "import diptych.cli.app",
        "import diptych.cli.processes, diptych.cli.planning",
        "from diptych.cli.failures import run_command; run_command(['plan', '--help'])",
    ],
)
def test_the_sdk_and_the_command_load_no_engine(statement: str) -> None:
    loaded = imported_by(statement)
    assert "diptych.errors" in loaded
    assert not {name for name in loaded if name.startswith(HEAVY)}


def test_the_sdk_needs_only_what_it_declares() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    allowed, new = {"diptych"}, {distribution_name(one) for one in declared}
    while new:
        allowed |= new
        # What the dependencies themselves bring, without their extras.
        wanted = [one for name in new for one in metadata.requires(name) or () if "extra ==" not in one]
        new = {name for name in map(distribution_name, wanted) if name not in allowed and installed(name)}
    owners = metadata.packages_distributions()
    loaded = imported_by("from diptych import *; import diptych.cli.app, diptych.cli.processes, diptych.images")
    # gRPC looks for its sister packages by itself; what we use of one are its modules.
    packages = {name.split(".")[0] for name in loaded - imported_by("import grpc")}
    # Several distributions may share a package, as google.protobuf and google.rpc do.
    strangers = {
        package
        for package in packages & owners.keys()
        if not {distribution_name(owner) for owner in owners[package]} & allowed
    }
    assert not strangers, "declare these, or do not import them"


def distribution_name(requirement: str) -> str:
    (name,) = re.findall(r"^[A-Za-z0-9._-]+", requirement)
    return re.sub(r"[-_.]+", "-", name).lower()


def installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def test_listing_models_loads_no_engine() -> None:
    loaded = imported_by("from diptych.cli.failures import run_command; assert run_command(['models', 'list']) == 0")
    assert "diptych.repository" in loaded
    assert not loaded & {"onnxruntime", "torch", "diffusers", "diptych.engines", "diptych.diffusion"}


def test_the_commands_and_their_options_are_these() -> None:
    # Other programs call these names: what is here may grow, nothing may go.
    app = importlib.import_module("diptych.cli.app").app
    options = {
        info.callback.__name__: {name.rstrip("_") for name in info.callback.__annotations__} - {"return"}
        for info in app.registered_commands
    }
    assert options == COMMANDS
    (models,) = app.registered_groups
    assert models.name == "models"
    names = {info.name or info.callback.__name__ for info in models.typer_instance.registered_commands}
    assert names == {"list", "pull", "import", "build", "verify", "bench", "remove"}
