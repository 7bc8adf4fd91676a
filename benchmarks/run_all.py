"""Run the benchmarks of this folder one after the other, and end with one line for each.

    python benchmarks/run_all.py [NAME ...]

What each prints goes to the terminal and to benchmarks/out/NAME.txt. The status is 1 if a target was missed or a
benchmark failed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
OUT = FOLDER / "out"


def run(name: str) -> tuple[int, list[str]]:
    """The exit status of one benchmark, and the lines in which it states its target."""
    lines = []
    command = [sys.executable, "-u", str(FOLDER / f"{name}.py")]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process,
        (OUT / f"{name}.txt").open("w") as file,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            file.write(line)
            if line.startswith("target:"):
                lines.append(line.strip())
    return process.returncode, lines


def main() -> int:
    names = sorted(path.stem for path in FOLDER.glob("*.py") if path != Path(__file__).resolve())
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", metavar="NAME", nargs="*", help=f"some of: {', '.join(names)}")
    chosen = parser.parse_args().names or names
    if unknown := sorted(set(chosen) - set(names)):
        parser.error(f"no benchmark is named {', '.join(unknown)}; there are {', '.join(names)}")
    OUT.mkdir(exist_ok=True)
    summary = []
    for name in chosen:
        print(f"== {name}", flush=True)
        status, lines = run(name)
        said = lines or [f"ended with status {status}, see benchmarks/out/{name}.txt"]
        summary += [(name, status, line) for line in said]
        print()
    print("== summary")
    for name, _, line in summary:
        print(f"{name:12} {line}")
    return 1 if any(status for _, status, _ in summary) else 0


if __name__ == "__main__":
    raise SystemExit(main())
