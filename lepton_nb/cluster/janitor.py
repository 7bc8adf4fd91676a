"""Run as a program of its own: `janitor.py FOLDER VARIABLE`. See scratch.py.

Waits for its standard input to end, or for its parent to be gone. If the folder still exists then, the owner
was killed: the processes that belong to the folder get GRACE_S to end by themselves, are killed after that, and
the folder is removed; what cannot be removed within LIMIT_S is left. Those processes are the workers, which
signed in with `sign_in`, and whatever was started with VARIABLE=FOLDER in its environment. The program uses the
standard library alone and ignores the terminal's signals.
"""

import os
import select
import shutil
import signal
import sys
import time

GRACE_S = 3.0
LIMIT_S = 30.0
POLL_S = 0.5
SIGNED_IN = ".member"


def wait_for_owner(owner: int) -> None:
    """Return once the owner closed our standard input, or is no longer our parent."""
    while os.getppid() == owner:
        readable, _, _ = select.select([0], [], [], POLL_S)
        if readable and not os.read(0, 1024):
            return


def started_at(pid: int) -> str:
    """When process `pid` began, in ticks since the machine's start: with the id it names one process for ever.

    Raises OSError where there is no such process, or no /proc. Field 22 of /proc/PID/stat, see proc(5); the
    second field is a name in parentheses that may hold anything.
    """
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[19]


def sign_in(folder: str) -> None:
    """Leave this process's name in `folder`, for the janitor."""
    if os.path.isdir("/proc/self"):
        with open(os.path.join(folder, f"{os.getpid()}-{started_at(os.getpid())}{SIGNED_IN}"), "w"):
            pass


def members(folder: str, variable: str) -> list[int]:
    """Ids of the living processes that belong to `folder` (Linux; none elsewhere)."""
    return sorted(_signed_in(folder) | _marked(os.fsencode(f"{variable}={folder}")))


def _signed_in(folder: str) -> set[int]:
    found: set[int] = set()
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return found
    for name in names:
        if name.endswith(SIGNED_IN):
            pid, began = name.removesuffix(SIGNED_IN).split("-")
            try:
                if started_at(int(pid)) == began:
                    found.add(int(pid))
            except OSError:
                continue  # it has ended
    return found


def _marked(entry: bytes) -> set[int]:
    found = set()
    for name in os.listdir("/proc") if os.path.isdir("/proc") else []:
        if name.isdigit() and int(name) != os.getpid():
            try:
                with open(f"/proc/{name}/environ", "rb") as file:
                    if entry in file.read().split(b"\0"):
                        found.add(int(name))
            except OSError:
                continue  # it has ended, or belongs to somebody else
    return found


def remove(folder: str) -> bool:
    """Remove `folder` with all that is in it, read-only folders too; True if it is gone."""
    shutil.rmtree(folder, ignore_errors=True)
    if os.path.isdir(folder):
        for path, folders, _ in os.walk(folder):
            for name in folders:
                inner = os.path.join(path, name)
                if not os.path.islink(inner):
                    os.chmod(inner, 0o700)
        shutil.rmtree(folder, ignore_errors=True)
    return not os.path.isdir(folder)


def main() -> None:
    """Wait, then clean up what is left."""
    folder, variable = sys.argv[1:3]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    wait_for_owner(os.getppid())
    began = time.monotonic()
    while os.path.isdir(folder) and time.monotonic() - began < LIMIT_S:
        alive = members(folder, variable)
        if not alive:
            # A worker may have written while the folder was being removed: look again until it is gone.
            remove(folder)
        elif time.monotonic() - began > GRACE_S:
            for pid in alive:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
        time.sleep(0.1)


if __name__ == "__main__":
    main()
