import inspect
import sys

import pytest

from lepton_nb.cluster import cpu, cuda
from lepton_nb.cluster.choose import Choice
from lepton_nb.cluster.probe import Gpu
from lepton_nb.cluster.spec import ClusterSpec

SPEC = ClusterSpec(
    workers=2, threads=1, memory_bytes=10**9, gpus=2, secure=True, host="127.0.0.1", port=0, dashboard_port=0
)
GPUS = tuple(Gpu(index=i, uuid=f"GPU-{i}", name="Test GPU", memory_bytes=16 * 10**9) for i in range(2))


@pytest.mark.skipif(sys.platform != "linux", reason="dask-cuda exists for Linux only")
def test_the_options_fit_the_installed_dask_cuda(tmp_path):
    from dask_cuda import LocalCUDACluster
    from distributed import LocalCluster, Nanny

    from lepton_nb.cluster.nanny import TidyNanny

    options = cuda.options(SPEC, Choice("cuda", 2, GPUS, ""), tmp_path, None, print)
    named = set(inspect.signature(LocalCUDACluster.__init__).parameters)
    passed_on = {name for kind in (LocalCluster, Nanny, TidyNanny) for name in inspect.signature(kind).parameters}
    assert set(options) <= named | passed_on
    assert options["CUDA_VISIBLE_DEVICES"] == ["GPU-0", "GPU-1"]
    assert options["n_workers"] == len(options["CUDA_VISIBLE_DEVICES"])


def test_the_options_fit_the_installed_distributed(tmp_path):
    from distributed import LocalCluster, Nanny

    from lepton_nb.cluster.nanny import TidyNanny

    options = cpu.options(SPEC, Choice("cpu", 2, (), ""), tmp_path, None, print)
    known = {name for kind in (LocalCluster, Nanny, TidyNanny) for name in inspect.signature(kind).parameters}
    assert set(options) <= known


def test_uuids_are_what_dask_cuda_takes():
    from dask_cuda.utils import parse_cuda_visible_device

    assert parse_cuda_visible_device("GPU-9baca7f5-0f2f-01ac-6b05-8da14d6e9005").startswith("GPU-")


def test_each_worker_keeps_its_gpu_and_gets_the_scratch_folder(tmp_path):
    workers = {0: {"options": {"env": {"CUDA_VISIBLE_DEVICES": "GPU-0"}}}, 1: {"options": {}}}
    environment = cpu.environment(tmp_path)
    added = cuda.add_environment(workers, environment)
    assert added[0]["options"]["env"] == {"CUDA_VISIBLE_DEVICES": "GPU-0", **environment}
    assert added[1]["options"]["env"] == environment
