"""Write environment.yml and binder/ from pyproject.toml and constraints.txt.

python scripts/environments.py           # write
python scripts/environments.py --check   # exit 1 and name the files that are not as they would be written
"""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
# The Python that the tests run with.
PYTHON = "3.11"

ROOT_HEAD = """\
# For conda users: `conda env create -f environment.yml`. Written by scripts/environments.py; edit pyproject.toml.
# Everything but Python comes through pip, in the versions of constraints.txt, as with `make`.
"""

BINDER_HEAD = """\
# For Binder: repo2docker reads this folder and ignores the files outside it. Written by scripts/environments.py;
# edit pyproject.toml. postBuild installs the project itself.
"""

POST_BUILD = """\
#!/bin/bash
# Written by scripts/environments.py. Runs once, when Binder builds the image: the project itself, and the exact
# versions of what the packages in environment.yml brought with them.
set -euo pipefail
python -m pip install --no-cache-dir --constraint constraints.txt --editable '.[all]'
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file is out of date")
    arguments = parser.parse_args()
    stale = {path: text for path, text in wanted(ROOT).items() if not path.is_file() or path.read_text() != text}
    for path, text in stale.items():
        name = path.relative_to(ROOT)
        if arguments.check:
            print(f"{name} does not match pyproject.toml and constraints.txt; run: make generate", file=sys.stderr)
            continue
        path.write_text(text)
        if text.startswith("#!"):
            path.chmod(0o755)
        print(f"wrote {name}")
    return 1 if arguments.check and stale else 0


def wanted(root: Path) -> dict[Path, str]:
    """Each generated file, and what should be in it."""
    required = requirements(root / "pyproject.toml", "all")
    pinned = pins(root / "constraints.txt")
    loose = ["--constraint constraints.txt", *map(str, required), "--editable ."]
    exact = [str(pin(requirement, pinned)) for requirement in required]
    return {
        root / "environment.yml": ROOT_HEAD + environment(loose),
        root / "binder" / "environment.yml": BINDER_HEAD + environment(exact),
        root / "binder" / "postBuild": POST_BUILD,
    }


def requirements(pyproject: Path, extra: str) -> list[Requirement]:
    """What the project needs with `extra`, its own extras followed, in the order of pyproject.toml."""
    project = tomllib.loads(pyproject.read_text())["project"]
    found: dict[str, Requirement] = {}

    def add(line: str) -> None:
        requirement = Requirement(line)
        if canonicalize_name(requirement.name) == canonicalize_name(project["name"]):
            for name in project["optional-dependencies"]:
                if name in requirement.extras:
                    for inner in project["optional-dependencies"][name]:
                        add(inner)
        else:
            found[canonicalize_name(requirement.name)] = requirement

    for line in [*project["dependencies"], *project["optional-dependencies"][extra]]:
        add(line)
    return list(found.values())


def pins(constraints: Path) -> dict[str, str]:
    """Normalised names and versions of constraints.txt."""
    lines = [line for line in constraints.read_text().splitlines() if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}


def pin(requirement: Requirement, pinned: dict[str, str]) -> Requirement:
    """The same requirement at its one tested version."""
    name = canonicalize_name(requirement.name)
    if name not in pinned:
        raise SystemExit(f"{requirement.name} is in pyproject.toml and not in constraints.txt; run: make lock")
    exact = Requirement(str(requirement))
    exact.specifier = SpecifierSet(f"=={pinned[name]}")
    return exact


def environment(lines: list[str]) -> str:
    """A conda environment file; JSON's strings are YAML's."""
    listed = "".join(f"      - {json.dumps(line)}\n" for line in lines)
    return (
        "name: lepton-nb\nchannels:\n  - conda-forge\n  - nodefaults\n"
        f"dependencies:\n  - python={PYTHON}\n  - pip\n  - pip:\n{listed}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
