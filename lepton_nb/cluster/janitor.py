"""Run as a program of its own: `janitor.py FOLDER VARIABLE`. See scratch.py.

Waits for its standard input to end, or for its parent to be gone. If the folder still exists then, the owner
was killed: processes whose environment says VARIABLE=FOLDER get GRACE_S to end by themselves, are killed after
that, and the folder is removed. It uses the standard library alone and ignores the terminal's signals.
"""

import os
import select
import shutil
import signal
import sys
import time

GRACE_S = 3.0
POLL_S = 0.5


def wait_for_owner(owner: int) -> None:
    """Return once the owner closed our standard input, or is no longer our parent."""
    while os.getppid() == owner:
        readable, _, _ = select.select([0], [], [], POLL_S)
        if readable and not os.read(0, 1024):
            return


def members(folder: str, variable: str) -> list[int]:
    """Ids of the processes of this user that carry VARIABLE=FOLDER in their environment (Linux; none elsewhere)."""
    entry = f"{variable}={folder}".encode()
    found = []
    for name in os.listdir("/proc") if os.path.isdir("/proc") else []:
        if name.isdigit() and int(name) != os.getpid():
            try:
                with open(f"/proc/{name}/environ", "rb") as file:
                    if entry in file.read().split(b"\0"):
                        found.append(int(name))
            except OSError:
                continue  # it ended meanwhile, or belongs to somebody else
    return found


def main() -> None:
    """Wait, then clean up what is left."""
    folder, variable = sys.argv[1:3]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    wait_for_owner(os.getppid())
    deadline = time.monotonic() + GRACE_S
    while os.path.isdir(folder):
        alive = members(folder, variable)
        if not alive:
            # A worker may have written while the folder was being removed: look again until it is gone.
            shutil.rmtree(folder, ignore_errors=True)
        elif time.monotonic() > deadline:
            for pid in alive:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
        time.sleep(0.1)


if __name__ == "__main__":
    main()
