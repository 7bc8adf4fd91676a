"""Runs in a report's kernel, by its path: notes which files Python opens, which modules come from where, and flags.

It stands alone: importing lepton_nb here would cost every report what only some notebooks need.
"""

from __future__ import annotations

from typing import Any

VARIABLE = "LEPTON_NB_FACTS"
# Environment variables that say how far a result can be repeated.
FLAGS = ("PYTHONHASHSEED", "CUBLAS_WORKSPACE_CONFIG", "TF_DETERMINISTIC_OPS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


def arguments() -> list[str]:
    """What a kernel's command line needs to be watched."""
    return [f"--IPKernelApp.exec_lines=__import__('runpy').run_path({__file__!r})['watch'](get_ipython())"]


def watch(shell: Any) -> None:
    """Note what a cell did, after each. Never raises, and leaves no name in the notebook."""
    import json
    import os
    import sys

    path = os.environ.get(VARIABLE)
    if not path:
        return
    process, cwd = os.getpid(), os.getcwd()
    outside = tuple({os.path.realpath(prefix) + os.sep for prefix in (sys.prefix, sys.base_prefix)})
    outside += ("/proc/", "/sys/", "/dev/", "/etc/", "/usr/", "/lib", "/run/")
    endings = (".py", ".pyc", ".so", ".pth", ".ipynb")
    opened: set[tuple[str, str]] = set()
    fresh: list[tuple[str, str]] = []
    told: dict[str, Any] = {}
    modules: set[str] = set()

    def ours(name: str) -> bool:
        if name.startswith(outside) or "-packages" + os.sep in name:
            return False
        inside = name[len(cwd) :] if name.startswith(cwd + os.sep) else name
        return os.sep + "." not in inside

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event != "open" or os.getpid() != process:
            return
        try:
            name, mode, flags = arguments
            if isinstance(name, bytes):
                name = os.fsdecode(name)
            if not isinstance(name, str):
                return
            writes = any(letter in mode for letter in "wax+") if mode else bool(flags & (os.O_WRONLY | os.O_RDWR))
            name = os.path.abspath(name)
            if not name.endswith(endings) and ours(name):
                fact = ("written" if writes else "read", name)
                if fact not in opened:
                    opened.add(fact)
                    fresh.append(fact)
        except Exception:  # noqa: S110 - a hook that raises would make the user's own open() fail
            pass

    def flags() -> dict[str, Any]:
        found: dict[str, Any] = {name: os.environ[name] for name in FLAGS if name in os.environ}
        torch = sys.modules.get("torch")
        if torch is not None and hasattr(torch, "are_deterministic_algorithms_enabled"):
            found["torch.deterministic_algorithms"] = torch.are_deterministic_algorithms_enabled()
            found["torch.cudnn.deterministic"] = torch.backends.cudnn.deterministic
            found["torch.cudnn.benchmark"] = torch.backends.cudnn.benchmark
            found["torch.threads"] = torch.get_num_threads()
        return found

    def after(*_: Any) -> None:
        try:
            facts: list[dict[str, Any]] = []
            for name in set(sys.modules) - modules:
                modules.add(name)
                file = getattr(sys.modules.get(name), "__file__", None)
                if isinstance(file, str) and file.endswith(".py") and ours(os.path.abspath(file)):
                    facts.append({"kind": "module", "path": os.path.abspath(file)})
            seen = fresh[:]
            del fresh[: len(seen)]
            facts += [{"kind": kind, "path": name} for kind, name in seen]
            for name, value in flags().items():
                if told.get(name) != value:
                    told[name] = value
                    facts.append({"kind": "flag", "name": name, "value": value})
            if facts:
                with open(path, "ab", buffering=0) as file:
                    file.write("".join(f"{json.dumps(fact)}\n" for fact in facts).encode())
        except Exception:  # noqa: S110 - nor may a cell fail because of what is noted about it
            pass

    sys.addaudithook(hook)
    shell.events.register("post_execute", after)
