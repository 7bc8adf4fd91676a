"""How much memory this process may still take: of the machine, and of the control groups that it is in."""

from __future__ import annotations

from pathlib import Path


def available_bytes(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int:
    """What the machine has left, or the control group with the least room, where that is less.

    root, own: where the kernel tells of control groups, and in which this process is.
    """
    import psutil

    rooms = [psutil.virtual_memory().available]
    for line in own.read_text().splitlines() if own.exists() else []:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            rooms += _rooms(root, path, "memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            rooms += _rooms(
                root / "memory", path, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
            )
    return max(0, min(rooms))


def _rooms(root: Path, path: str, limit: str, used: str, cached: str) -> list[int]:
    """The room in the group at `path` and in each group around it that has a limit."""
    found = []
    inside = root / path.lstrip("/")
    for folder in (inside, *inside.parents):
        if not folder.is_relative_to(root):
            break
        text = _text(folder / limit)
        if text not in ("", "max"):
            found.append(int(text) - int(_text(folder / used) or 0) + _cached(folder / "memory.stat", cached))
    return found


def _cached(file: Path, name: str) -> int:
    """What the kernel keeps of files, and gives up when memory is wanted."""
    counts = dict(line.split() for line in _text(file).splitlines())
    return int(counts.get(name, 0))


def _text(file: Path) -> str:
    # A container does not see the groups that it is in by the names that its processes are told.
    return file.read_text().strip() if file.is_file() else ""
