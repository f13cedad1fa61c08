"""Writes the stubs of `protos/diptych` into a folder (default: the repository root, so into `diptych/`)."""

import argparse
import os
import sys
import sysconfig
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent


def run_protoc(protos: Path, *options: str) -> None:
    """Runs protoc over every file of `protos/diptych`; google/rpc comes from googleapis-common-protos."""
    files = sorted(str(path.relative_to(protos)) for path in protos.glob("diptych/**/*.proto"))
    packages = sysconfig.get_path("purelib")
    # protoc looks for protoc-gen-mypy on the PATH, and the environment may not be activated.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    if (
        protoc.main(["protoc", f"-I{protos}", f"-I{packages}", f"-I{packages}/grpc_tools/_proto", *options, *files])
        != 0
    ):
        sys.exit("protoc failed; its message is above")


def generate(out: Path) -> None:
    """Writes messages, services and their types below `out`."""
    run_protoc(
        ROOT / "protos",
        f"--python_out={out}",
        f"--grpc_python_out={out}",
        f"--mypy_out=quiet:{out}",
        f"--mypy_grpc_out=quiet:{out}",
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT)
    generate(parser.parse_args().out)
