import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from lepton_nb.cluster.probe import probe_gpus
from lepton_nb.training.cost import Cost, Meter, combine
from lepton_nb.training.energy import RAPL_ROOT, NvidiaGpu, Rapl

RANGE_UJ = 262_143_328_850


class Clock:
    now_s = 100.0

    def __call__(self):
        return self.now_s


def zone(root, name, label, energy_uj):
    folder = root / name
    folder.mkdir(exist_ok=True)
    (folder / "name").write_text(f"{label}\n")
    (folder / "energy_uj").write_text(f"{energy_uj}\n")
    (folder / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")


@pytest.fixture
def counters(tmp_path):
    """The files of a machine with two packages, as the kernel lists them, all side by side."""
    root = tmp_path / "powercap"
    root.mkdir()
    (root / "intel-rapl").mkdir()
    zone(root, "intel-rapl:0", "package-0", 5_000_000)
    zone(root, "intel-rapl:0:0", "core", 100)
    zone(root, "intel-rapl:0:1", "dram", 2_000_000)
    zone(root, "intel-rapl:1", "package-1", 7_000_000)
    zone(root, "intel-rapl:2", "psys", 9_000_000)
    zone(root, "intel-rapl-mmio:0", "package-0", 5_000_000)
    return root


def meter(root, *, rank=0, local_rank=0, host="here", clock=None, device="cpu"):
    return Meter(rank=rank, host=host, local_rank=local_rank, device=device, rapl_root=root, clock=clock or Clock())


def report(rank, *, host="a", local_rank=None, **figures):
    return {
        "rank": rank, "host": host, "local_rank": rank if local_rank is None else local_rank, "elapsed_s": 10.0,
        "cpu_s": 4.0, "gpu": None, "gpu_s": 0.0, "gpu_energy_j": None, "gpu_reason": "", "cpu_energy_j": None,
        "energy_reason": "", **figures,
    }  # fmt: skip


# Counters of energy


def test_packages_and_their_memory_are_added_and_nothing_that_is_part_of_them(counters):
    rapl = Rapl(counters)
    assert rapl.read() == 0
    for name, label, energy_uj in [
        ("intel-rapl:0", "package-0", 6_500_000),
        ("intel-rapl:0:0", "core", 1_000_100),
        ("intel-rapl:0:1", "dram", 2_250_000),
        ("intel-rapl:1", "package-1", 7_000_001),
        ("intel-rapl:2", "psys", 99_000_000),
        ("intel-rapl-mmio:0", "package-0", 6_500_000),
    ]:
        zone(counters, name, label, energy_uj)
    assert rapl.read() == pytest.approx(1.750001)
    assert rapl.reason == ""


def test_a_counter_goes_round(counters):
    zone(counters, "intel-rapl:0", "package-0", RANGE_UJ - 3_000_000)
    rapl = Rapl(counters)
    for lap in range(1, 4):
        zone(counters, "intel-rapl:0", "package-0", 2_000_000)
        assert rapl.read() == pytest.approx(5 + (lap - 1) * RANGE_UJ / 1e6)
        zone(counters, "intel-rapl:0", "package-0", RANGE_UJ - 3_000_000)
        assert rapl.read() == pytest.approx(lap * RANGE_UJ / 1e6)


@pytest.mark.parametrize("there", [True, False])
def test_a_machine_without_counters_says_so(tmp_path, there):
    rapl = Rapl(tmp_path if there else tmp_path / "absent")
    assert rapl.read() is None
    assert rapl.reason == "no RAPL counters on this machine"


def test_counters_for_root_alone_name_the_command_that_allows_them():
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="tests-of-rapl-") as folder:
        root = Path(folder)
        root.chmod(0o755)
        zone(root, "intel-rapl:0", "package-0", 5)
        file = root / "intel-rapl:0" / "energy_uj"
        file.chmod(0o400 if os.geteuid() == 0 else 0)
        before = os.geteuid()
        if before == 0:
            os.seteuid(65534)
        try:
            rapl = Rapl(root)
        finally:
            os.seteuid(before)
    assert rapl.read() is None
    assert rapl.reason == (
        f"the RAPL counters of this machine are for root alone; its administrator can allow them: chmod a+r {file}"
    )


def test_a_counter_that_goes_away_or_holds_no_number_is_not_measured_any_more(counters):
    rapl = Rapl(counters)
    (counters / "intel-rapl:1" / "energy_uj").unlink()
    assert rapl.read() is None
    assert rapl.reason == "the RAPL counters of this machine cannot be read: No such file or directory"
    zone(counters, "intel-rapl:1", "package-1", "x")
    assert "holds no number" in Rapl(counters).reason


def test_this_machine_measures_or_says_why_not():
    rapl = Rapl()
    if RAPL_ROOT.is_dir() and not rapl.reason:
        _burn(0.2)
        assert rapl.read() > 0
    else:
        assert rapl.read() is None
        assert "RAPL counters" in rapl.reason


# A rank's meter


def _burn(seconds):
    began_s = time.process_time()
    while time.process_time() - began_s < seconds:
        sum(range(1_000))


def test_a_meter_reads_plain_values(counters):
    clock = Clock()
    measured = meter(counters, rank=3, host="a", clock=clock)
    _burn(0.3)
    clock.now_s += 20
    zone(counters, "intel-rapl:0", "package-0", 8_000_000)
    found = json.loads(json.dumps(measured.read()))
    assert (found["rank"], found["host"], found["local_rank"], found["elapsed_s"]) == (3, "a", 0, 20.0)
    assert 0.29 < found["cpu_s"] < 5
    assert 10e6 < found["memory_bytes"] <= found["peak_memory_bytes"]
    assert (found["gpu"], found["gpu_s"], found["gpu_utilisation"], found["gpu_reason"]) == (None, 0, None, "")
    assert (found["cpu_energy_j"], found["energy_reason"]) == (3.0, "")


def test_a_meter_counts_rows_and_their_pace_over_the_steps_since_the_read_before(counters):
    measured = meter(counters)
    assert (measured.read()["rows"], measured.read()["rows_per_s"]) == (0, None)
    for rows, took_s in ((100, 2.0), (50, 1.0)):
        measured.note_step(rows, took_s)
    assert (measured.read()["rows"], measured.read()["rows_per_s"]) == (150, 50.0)
    measured.note_step(50, 0.5)
    assert (measured.read()["rows"], measured.read()["rows_per_s"]) == (200, 100.0)


def test_only_the_first_rank_of_a_machine_reads_its_energy(counters):
    second = meter(counters, rank=1, local_rank=1)
    zone(counters, "intel-rapl:0", "package-0", 8_000_000)
    assert (second.read()["cpu_energy_j"], second.read()["energy_reason"]) == (None, "")


def test_counters_that_stand_still_are_not_taken_for_no_energy(counters):
    clock = Clock()
    measured = meter(counters, clock=clock)
    assert measured.read()["cpu_energy_j"] == 0
    clock.now_s += 60
    found = measured.read()
    assert (found["cpu_energy_j"], found["energy_reason"]) == (None, "the RAPL counters of this machine stand still")


def test_processes_that_a_rank_started_count_while_they_live_and_afterwards(tmp_path):
    measured = meter(tmp_path)
    code = """
import subprocess, sys, time
burn = "import time\\nwhile time.process_time() < 0.6: pass\\nprint(flush=True)\\nimport sys; sys.stdin.read()"
child = subprocess.Popen([sys.executable, "-c", burn], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.readline()
print(flush=True)
sys.stdin.read()
child.communicate()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        assert measured.read()["cpu_s"] > 0.55
        process.stdin.close()
        process.wait()
        assert measured.read()["cpu_s"] > 0.55


def test_the_peak_of_memory_is_the_rank_s_own_and_not_that_of_who_started_it(tmp_path):
    code = """
import sys
from pathlib import Path
from lepton_nb.training.cost import Meter
meter = Meter(rank=0, host="a", local_rank=0, rapl_root=Path(sys.argv[1]))
small = meter.read()["peak_memory_bytes"]
large = bytearray(200_000_000)
del large
after = meter.read()
print(small, after["memory_bytes"], after["peak_memory_bytes"])
"""
    held = bytearray(500_000_000)
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    del held
    small, now, peak = map(int, done.stdout.split())
    assert small < 400e6
    assert now < peak - 150e6
    assert peak > 200e6


def test_a_gpu_that_is_not_there_is_not_measured_and_the_rest_is(tmp_path):
    if probe_gpus()[0]:
        pytest.skip("this machine has a GPU")
    found = meter(tmp_path, device="cuda").read()
    assert (found["gpu"], found["gpu_s"], found["gpu_energy_j"]) == (None, None, None)
    assert found["gpu_reason"] == probe_gpus()[1] != ""
    assert found["cpu_s"] >= 0
    assert f"GPU-seconds not measured ({found['gpu_reason']})" in str(combine([found]))


# Costs of ranks, and of attempts


def test_a_rank_s_latest_report_counts():
    found = combine([report(0, cpu_s=3.0), report(1), report(0, cpu_s=9.0, elapsed_s=12.0), report(1, elapsed_s=1.0)])
    assert (found.core_s, found.gpu_s, found.ranks, found.elapsed_s) == (13.0, 0.0, 2, 12.0)


def test_each_machine_s_energy_is_counted_once():
    ranks = [
        report(0, cpu_energy_j=100.0), report(1), report(2, host="b", local_rank=0, cpu_energy_j=50.0),
        report(3, host="b", local_rank=1),
    ]  # fmt: skip
    assert (combine(ranks).energy_j, combine(ranks).energy_reason) == (150.0, "")


def test_a_gpu_that_two_ranks_share_is_counted_once():
    uses = {"gpu": "GPU-1", "gpu_s": 6.0, "gpu_energy_j": 500.0}
    other = {"gpu": "GPU-2", "gpu_s": 2.0, "gpu_energy_j": 30.0}
    found = combine([report(0, cpu_energy_j=1.0, **uses), report(1, **uses), report(2, **other)])
    assert (found.gpu_s, found.energy_j, found.energy_reason) == (8.0, 531.0, "")


def test_what_one_machine_does_not_count_is_said():
    none = "no RAPL counters on this machine"
    found = combine([report(0, cpu_energy_j=100.0), report(1, host="b", local_rank=0, energy_reason=none)])
    assert (found.energy_j, found.energy_reason) == (100.0, none)
    assert str(found) == f"8.0 core-seconds, 0 GPU-seconds, energy 100.0 J without what is not measured ({none})"
    found = combine([report(0, gpu="GPU-1", gpu_s=3.0, gpu_energy_j=2_500.0, energy_reason=none)])
    assert str(found) == f"4.0 core-seconds, 3.0 GPU-seconds, energy 2.50 kJ without what is not measured ({none})"


def test_a_machine_whose_first_rank_said_nothing_has_no_energy():
    found = combine([report(1)])
    assert (found.energy_j, found.energy_reason) == (None, "the rank that reads the counters of a has not reported")
    assert combine([]).energy_reason == "no rank has reported"
    assert (combine([]).core_s, combine([]).ranks, combine([]).elapsed_s) == (0, 0, 0)


def test_without_counters_the_text_says_why():
    found = combine([report(0, cpu_s=12.345, energy_reason="no RAPL counters on this machine")])
    assert str(found) == "12.3 core-seconds, 0 GPU-seconds, energy not measured (no RAPL counters on this machine)"


def test_attempts_add_up():
    first = combine([report(0, cpu_energy_j=2e6), report(1)])
    second = combine([report(0, cpu_s=1.0, elapsed_s=5.0, energy_reason="why")])
    both = first + second
    assert both == Cost(
        core_s=9.0, gpu_s=0.0, gpu_reason="", energy_j=2e6, energy_reason="why", ranks=2, elapsed_s=15.0
    )
    assert str(both) == "9.0 core-seconds, 0 GPU-seconds, energy 2.00 MJ without what is not measured (why)"
    unknown = combine([report(0, gpu_s=None, gpu_reason="no driver", energy_reason="why")])
    total = second + unknown
    assert (total.gpu_s, total.gpu_reason, total.energy_j, total.energy_reason) == (
        None,
        "no driver",
        None,
        "why; no driver",
    )


# A real GPU


@pytest.mark.gpu
def test_a_gpu_at_work_is_measured(tmp_path):
    found, note = probe_gpus()
    if not found:
        pytest.skip(note)
    import torch

    measured = Meter(rank=0, host="a", local_rank=0, device="cuda", rapl_root=tmp_path)
    matrix = torch.ones(4096, 4096, device="cuda")
    reports = []
    for _ in range(20):
        for _ in range(50):
            matrix = (matrix @ matrix).clamp(-1, 1)
        torch.cuda.synchronize()
        reports.append(measured.read())
    last = reports[-1]
    assert last["gpu"] == found[0].uuid
    assert last["gpu_memory_bytes"] >= matrix.nbytes
    assert 0 < last["gpu_s"] <= last["elapsed_s"]
    assert last["gpu_energy_j"] is None or last["gpu_energy_j"] > 0
    beyond = NvidiaGpu(f"cuda:{len(found)}")
    assert beyond.uuid is None
    assert f"and this rank asks for cuda:{len(found)}" in beyond.reason
