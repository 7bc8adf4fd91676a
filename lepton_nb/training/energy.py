"""The counters of a machine: energy of its processors (RAPL), and use, memory and energy of a GPU (NVML)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lepton_nb.cluster.probe import probe_gpus

RAPL_ROOT = Path("/sys/class/powercap")
# Packages, and the memory beside them. Cores and uncore are within a package, and psys is around all of them.
_PACKAGE = re.compile(r"intel-rapl:\d+")
_WITHIN = re.compile(r"intel-rapl:\d+:\d+")


class Rapl:
    """Joules that the whole machine's processors and memory have used since this was made, all programs together.

    root: where the kernel lists its counters, of Intel's processors and of AMD's. A counter goes round after
    `max_energy_range_uj`, on a busy server in ten minutes or more: it has to be read more often than that.
    `reason` says why nothing is measured, "" while it is.
    """

    def __init__(self, root: Path = RAPL_ROOT) -> None:
        self.reason = ""
        self._used_uj = 0
        self._zones: list[Path] = []
        self._before: dict[Path, int] = {}
        try:
            self._zones = _zones(root)
            self._before = {zone: _number(zone / "energy_uj") for zone in self._zones}
        except OSError as error:
            self._fail(error)
        if not self._zones and not self.reason:
            self.reason = "no RAPL counters on this machine"

    def read(self) -> float | None:
        """Joules so far; None where they are not measured."""
        if self.reason:
            return None
        try:
            for zone in self._zones:
                now = _number(zone / "energy_uj")
                used = now - self._before[zone]
                self._used_uj += used if used >= 0 else used + _number(zone / "max_energy_range_uj")
                self._before[zone] = now
        except OSError as error:
            self._fail(error)
            return None
        return self._used_uj / 1e6

    def _fail(self, error: OSError) -> None:
        if isinstance(error, PermissionError):
            self.reason = (
                "the RAPL counters of this machine are for root alone; its administrator can allow them: "
                f"chmod a+r {error.filename}"
            )
        else:
            self.reason = f"the RAPL counters of this machine cannot be read: {error.strerror or error}"


def _zones(root: Path) -> list[Path]:
    if not root.is_dir():
        return []
    found = []
    for zone in sorted(root.iterdir()):
        pattern, start = (_WITHIN, "dram") if zone.name.count(":") == 2 else (_PACKAGE, "package")
        if pattern.fullmatch(zone.name) and (zone / "name").read_text().startswith(start):
            found.append(zone)
    return found


def _number(path: Path) -> int:
    try:
        return int(path.read_text())
    except ValueError as error:
        raise OSError(f"{path} holds no number") from error


@dataclass(frozen=True, slots=True)
class GpuState:
    """A GPU now, all programs on it together; what NVML does not tell is None.

    utilisation: the share of its last sample period (a sixth of a second to a second, as NVML says) in which it
    worked on anything, 0 to 1. energy_j: since its driver was loaded.
    """

    utilisation: float | None
    memory_bytes: int | None
    energy_j: float | None


class NvidiaGpu:
    """The GPU that this process calls `device`, such as "cuda" or "cuda:1".

    `uuid` is None, and `reason` says why, where there is none.
    """

    def __init__(self, device: str) -> None:
        self.uuid: str | None = None
        self.reason = ""
        number = int(device.partition(":")[2] or 0)
        found, note = probe_gpus()
        if number >= len(found):
            self.reason = f"{note}, and this rank asks for {device}" if found else note
            return
        import pynvml

        self._nvml = pynvml
        try:
            pynvml.nvmlInit()
            self._handle = pynvml.nvmlDeviceGetHandleByIndex(found[number].index)
        except pynvml.NVMLError as error:
            self.reason = f"the NVIDIA driver does not answer ({error})"
            return
        self.uuid = found[number].uuid

    def read(self) -> GpuState:
        """Its state now."""
        if self.uuid is None:
            return GpuState(None, None, None)
        utilisation = self._ask("nvmlDeviceGetUtilizationRates")
        memory = self._ask("nvmlDeviceGetMemoryInfo")
        energy_mj = self._ask("nvmlDeviceGetTotalEnergyConsumption")
        return GpuState(
            utilisation=None if utilisation is None else utilisation.gpu / 100,
            memory_bytes=None if memory is None else int(memory.used),
            energy_j=None if energy_mj is None else energy_mj / 1e3,
        )

    def _ask(self, name: str) -> Any:
        try:
            return getattr(self._nvml, name)(self._handle)
        except self._nvml.NVMLError:
            return None  # an older GPU, or a part of one, does not count this
