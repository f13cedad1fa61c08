"""ONNX graphs as files of MNN."""

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from diptych.engines.base import TensorSpec
from diptych.engines.machine import mnn_version
from diptych.errors import FailedPrecondition

# The module below MNN's own command, which installs another package and reports its use over the network.
_CONVERT = "import sys, _tools; _tools.mnnconvert(['diptych', *sys.argv[1:]])"


def require_mnn() -> str:
    """The version of MNN; FailedPrecondition where it is not installed."""
    version = mnn_version()
    if not version:
        raise FailedPrecondition("MNN is not installed; run: pip install 'diptych[mnn]'", reason="NO_MNN")
    return version


def why_not(specs: Iterable[TensorSpec]) -> str:
    """Why a graph with these inputs and outputs is not for `MnnEngine`; an empty string if it is."""
    others = [spec for spec in specs if spec.dtype != "float32"]
    return f"{others[0].name} is {others[0].dtype}" if others else ""


def convert(source: Path, target: Path) -> None:
    """Writes `target`, the ONNX graph at `source` for MNN; FailedPrecondition if MNN cannot."""
    done = subprocess.run(
        [sys.executable, "-c", _CONVERT, "-f", "ONNX", "--modelFile", str(source), "--MNNModel", str(target),
         "--bizCode", "diptych"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode or not target.is_file():
        words = (done.stdout + done.stderr).strip().splitlines()
        raise FailedPrecondition(
            f"MNN cannot build {source.name}: {words[-1][:300] if words else 'it does not say why'}",
            reason="UNSUPPORTED_GRAPH",
        )
