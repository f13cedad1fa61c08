"""Lints the contract and refuses breaking changes, with buf, on descriptor sets that protoc built.

The base of the comparison is main; on main itself it is the last commit while protos are being changed, and the
commit before it once they are committed. A descriptor set carries google/rpc/status.proto along, so nothing is fetched.
"""

import argparse
import subprocess
import sys
import tarfile
import tempfile
from io import BytesIO
from pathlib import Path

from generate import ROOT, run_protoc


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def base_commit() -> str | None:
    """The commit to compare with; None when the history holds no earlier contract."""
    head = git("rev-parse", "HEAD")
    main = subprocess.run(["git", "rev-parse", "--verify", "-q", "main"], cwd=ROOT, capture_output=True, text=True)
    base = main.stdout.strip() or head
    if base == head and not git("status", "--porcelain", "--", "protos/diptych"):
        parents = git("rev-list", "--parents", "-n", "1", "HEAD").split()[1:]
        if not parents:
            return None
        base = parents[0]
    return base if git("ls-tree", "-r", "--name-only", base, "protos/diptych") else None


def describe(protos: Path, out: Path) -> Path:
    run_protoc(protos, "--include_imports", "--include_source_info", f"--descriptor_set_out={out}")
    return out


def buf(binary: Path, *arguments: str) -> None:
    if subprocess.run([str(binary), *arguments, "--config", "buf.yaml"], cwd=ROOT).returncode != 0:
        sys.exit(f"buf {arguments[0]} found faults; they are listed above")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--buf", type=Path, required=True)
    binary = parser.parse_args().buf.resolve()
    with tempfile.TemporaryDirectory() as folder:
        now = describe(ROOT / "protos", Path(folder, "now.binpb"))
        buf(binary, "lint", str(now))
        base = base_commit()
        if base is None:
            print("contract: clean; no earlier contract to compare with")
            return
        archive = subprocess.run(["git", "archive", base, "protos"], cwd=ROOT, check=True, capture_output=True).stdout
        with tarfile.open(fileobj=BytesIO(archive)) as tar:
            tar.extractall(folder, filter="data")
        before = describe(Path(folder, "protos"), Path(folder, "before.binpb"))
        buf(binary, "breaking", str(now), "--against", str(before))
        print(f"contract: clean, nothing broken since {base[:9]}")


if __name__ == "__main__":
    main()
