"""Write constraints.txt: every package of `.[all,dev]`, at the newest version that goes with all others.

    python scripts/lock.py            # newest versions
    python scripts/lock.py --keep     # keep the pins that still fit; add what is missing

pip resolves, nothing is installed. Wheels that only this machine offers are left out of the resolution: a CPU
build of torch asks for none of the CUDA libraries that the build on the package index asks for by exact version.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
# The oldest Python that we support: what it can have, newer ones can have too.
PYTHON = (3, 11)
# Held back on purpose: the newest torch that also comes as a CPU build where the tests run.
HELD = ("torch==2.13.0",)
# What only a newer Python installs: papermill asks for it on 3.12.
NEWER = ("aiohttp",)

HEAD = """\
# Every package of `pip install -e ".[all,dev]"` at the version that is tested. Written by scripts/lock.py.
#
# On Linux the package index's torch brings the CUDA libraries that it was built with (the nvidia-* and cuda-*
# lines, triton): several GB that a machine without a GPU does not use. A CPU build of the same torch (its version
# ends in +cpu) satisfies the pin too and leaves most of them out: put the index of CPU builds that PyTorch's
# installation page names into pip's configuration before `make`.
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", action="store_true", help="keep the pins that are in constraints.txt")
    arguments = parser.parse_args()
    if sys.version_info[:2] != PYTHON:
        print(f"lock: run this with Python {PYTHON[0]}.{PYTHON[1]}, the oldest that we support", file=sys.stderr)
        return 1
    pins = resolve(keep=arguments.keep)
    CONSTRAINTS.write_text(HEAD + "".join(f"{name}=={version}\n" for name, version in sorted(pins.items())))
    print(f"constraints.txt: {len(pins)} packages")
    return 0


def resolve(keep: bool) -> dict[str, str]:
    """Normalised names and versions that pip would install into an empty environment."""
    environment = {name: value for name, value in os.environ.items() if name != "PIP_FIND_LINKS"}
    environment["PIP_CONFIG_FILE"] = os.devnull
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
        command += ["--report", str(report), "--editable", f"{ROOT}[all,dev]", *HELD, *NEWER]
        if keep:
            command += ["--constraint", str(CONSTRAINTS)]
        subprocess.run(command, check=True, env=environment, cwd=ROOT)
        installs = json.loads(report.read_text())["install"]
    pins = {}
    for install in installs:
        name = normalise(install["metadata"]["name"])
        if name != "lepton-nb":
            # A local label (+cpu) names a build, not a version: the pin must fit every build.
            pins[name] = install["metadata"]["version"].partition("+")[0]
    return pins


def normalise(name: str) -> str:
    """The one spelling of a distribution's name that all tools agree on."""
    return name.lower().replace("_", "-").replace(".", "-")


if __name__ == "__main__":
    raise SystemExit(main())
