import json
import os
import shutil
import subprocess
import sys

import pytest

from lepton_nb.cluster.probe import Gpu, Hardware, hardware, probe_gpus, visible_gpus

# A driver library with the functions that a probe calls; COUNT and FAIL are set when it is built.
STUB = r"""
#include <stdio.h>
#include <string.h>
typedef struct { unsigned long long total, free, used; } memory_t;
int nvmlInit_v2(void) { return FAIL; }
int nvmlInitWithFlags(unsigned flags) { return FAIL; }
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int code) { return code ? "stub failure" : "ok"; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = COUNT; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) { *handle = (void *)(long)(index + 1); return 0; }
int nvmlDeviceGetUUID(void *handle, char *text, unsigned size) {
    snprintf(text, size, "GPU-0000000%ld-stub", (long)handle - 1); return 0; }
int nvmlDeviceGetName(void *handle, char *text, unsigned size) { snprintf(text, size, "Stub GPU"); return 0; }
int nvmlDeviceGetMemoryInfo(void *handle, memory_t *info) {
    info->total = 16000000000ull * (unsigned long)handle; info->free = info->total; info->used = 0; return 0; }
"""

PROBE = """
import dataclasses, json
from lepton_nb.cluster.probe import probe_gpus
gpus, note = probe_gpus()
print(json.dumps([[dataclasses.astuple(gpu) for gpu in gpus], note]))
"""


@pytest.fixture
def driver(tmp_path):
    """Builds a stub NVML library, and probes in a process that finds it."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.fail("the stub driver needs a C compiler; run: apt-get install gcc libc6-dev")

    def probe(count, fail=0, visible=None):
        source = tmp_path / "stub.c"
        source.write_text(STUB)
        library = tmp_path / "libnvidia-ml.so.1"
        subprocess.run(
            [compiler, "-shared", "-fPIC", f"-DCOUNT={count}", f"-DFAIL={fail}", "-o", library, source], check=True
        )
        environment = os.environ | {"LD_LIBRARY_PATH": str(tmp_path)}
        environment.pop("CUDA_VISIBLE_DEVICES", None)
        if visible is not None:
            environment["CUDA_VISIBLE_DEVICES"] = visible
        done = subprocess.run(
            [sys.executable, "-c", PROBE], env=environment, check=True, capture_output=True, text=True
        )
        return json.loads(done.stdout)

    return probe


def test_the_gpus_of_the_driver_are_listed(driver):
    gpus, note = driver(count=2)
    assert gpus == [
        [0, "GPU-00000000-stub", "Stub GPU", 16_000_000_000],
        [1, "GPU-00000001-stub", "Stub GPU", 32_000_000_000],
    ]
    assert note == "2 GPUs found"


def test_cuda_visible_devices_limits_and_orders_them(driver):
    gpus, note = driver(count=3, visible="2,0")
    assert [gpu[0] for gpu in gpus] == [2, 0]
    assert note == "3 GPUs found, 2 allowed by CUDA_VISIBLE_DEVICES='2,0'"
    assert driver(count=1, visible="")[0] == []


def test_a_driver_that_fails_or_lists_nothing_is_told(driver):
    assert driver(count=0) == [[], "no GPU found: the NVIDIA driver lists none"]
    gpus, note = driver(count=1, fail=9)
    assert gpus == []
    assert note.startswith("no GPU can be used: the NVIDIA driver does not answer")


def test_this_machine_is_probed():
    found = hardware()
    assert 1 <= found.cores <= (os.cpu_count() or 1)
    assert found.memory_bytes > 10**8
    assert found.describe()[0] == f"{found.cores} cores, {found.memory_bytes / 1e9:.1f} GB of memory"


def test_without_a_driver_the_note_says_so():
    gpus, note = probe_gpus()
    if gpus:
        pytest.skip("this machine has GPUs")
    assert note == "no GPU found: there is no NVIDIA driver on this machine"


@pytest.mark.parametrize(
    ("visible", "indices"),
    [
        ("0,1,2", [0, 1, 2]),
        ("1", [1]),
        ("GPU-b", [1]),
        ("2,9,0", [2]),
        ("-1", []),
        ("", []),
        ("0,0", [0]),
        ("GPU-", []),
    ],
)
def test_visible_devices_follow_the_cuda_rule(visible, indices):
    found = tuple(Gpu(i, f"GPU-{letter}", "", 0) for i, letter in enumerate("abc"))
    assert [gpu.index for gpu in visible_gpus(found, visible)] == indices


def test_hardware_describes_each_gpu():
    gpu = Gpu(0, "GPU-0", "Test GPU", 16 * 10**9)
    assert Hardware(2, 4 * 10**9, (gpu,), "1 GPU found").describe() == [
        "2 cores, 4.0 GB of memory",
        "1 GPU found",
        "GPU 0: Test GPU, 16.0 GB",
    ]
