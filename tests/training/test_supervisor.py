import json
import os

import polars as pl

import lepton_nb as lnb


def test_a_rank_has_its_share_of_the_cores_and_frees_memory_as_usual(cluster, tmp_path):
    def build(features):
        from torch import nn

        (tmp_path / f"{os.getpid()}.json").write_text(json.dumps(dict(os.environ)))
        return nn.Linear(features, 1)

    table = pl.DataFrame({"x": [0.0, 1.0, 2.0, 3.0], "y": [0, 1, 0, 1]})
    lnb.train(build, table, target="y", workers=2, epochs=1, batch_size=4, cluster=cluster).wait()
    worker = cluster.client.submit(lambda: dict(os.environ), pure=False).result()
    ranks = [json.loads(path.read_text()) for path in tmp_path.glob("*.json") if path.stem != str(os.getpid())]
    assert len(ranks) == 2
    assert "MALLOC_TRIM_THRESHOLD_" in worker
    for rank in ranks:
        assert "MALLOC_TRIM_THRESHOLD_" not in rank
        assert rank["OMP_NUM_THREADS"] == str(max(1, len(os.sched_getaffinity(0)) // 2))
