import pytest

from lepton_nb.cluster.choose import choose
from lepton_nb.cluster.probe import Gpu, Hardware
from lepton_nb.cluster.spec import ClusterSpec
from lepton_nb.errors import ClusterError

GPUS = tuple(Gpu(index=i, uuid=f"GPU-{i}", name="Test GPU", memory_bytes=16 * 10**9) for i in range(2))


def machine(gpus=0):
    note = f"{gpus} GPUs found" if gpus else "no GPU found: there is no NVIDIA driver on this machine"
    return Hardware(cores=4, memory_bytes=32 * 10**9, gpus=GPUS[:gpus], gpu_note=note)


def wish(workers=None, gpus="auto"):
    return ClusterSpec(
        workers=workers,
        threads=1,
        memory_bytes=10**9,
        gpus=gpus,
        secure=True,
        host="127.0.0.1",
        port=0,
        dashboard_port=0,
    )


def test_auto_takes_one_gpu_a_worker():
    choice = choose(wish(), machine(gpus=2), None)
    assert (choice.backend, choice.workers, choice.gpus) == ("cuda", 2, GPUS)
    assert choose(wish(workers=1), machine(gpus=2), None).gpus == GPUS[:1]


@pytest.mark.parametrize(
    ("workers", "gpus", "missing", "why"),
    [
        (None, 0, None, "no NVIDIA driver"),
        (2, 2, "dask-cuda cannot be used; run: pip install 'lepton-nb[cuda]'", "pip install"),
        (2, 1, None, "ask for workers=1 to use them"),
    ],
)
def test_auto_degrades_to_the_cpu_and_says_why(workers, gpus, missing, why):
    choice = choose(wish(workers), machine(gpus), missing)
    assert (choice.backend, choice.workers, choice.gpus) == ("cpu", 2, ())
    assert choice.reason.startswith("CPU backend: ")
    assert why in choice.reason


def test_zero_gpus_is_the_cpu_by_choice():
    assert choose(wish(gpus=0), machine(gpus=2), None).reason == "CPU backend: gpus=0 was asked for"


def test_a_number_of_gpus_is_exact():
    assert choose(wish(gpus=2), machine(gpus=2), None).workers == 2
    with pytest.raises(ClusterError, match="gpus=2 was asked for, but no GPU found.*gpus='auto'") as caught:
        choose(wish(gpus=2), machine(gpus=0), None)
    assert (caught.value.asked, caught.value.found) == (2, 0)
    with pytest.raises(ClusterError, match="dask-cuda is broken"):
        choose(wish(gpus=1), machine(gpus=1), "dask-cuda is broken")
    with pytest.raises(ClusterError, match="a GPU serves one worker; leave workers out"):
        choose(wish(workers=3, gpus=2), machine(gpus=2), None)
