"""Any number of ranks comes to the numbers of one process, in both frameworks."""

from __future__ import annotations

import pytest
import training_contract as contract
from sklearn import metrics

import lepton_nb as lnb

STEPS = 100


@pytest.fixture(scope="module")
def three():
    with lnb.Cluster(workers=3, memory="1GB") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def runs(three):
    """All runs of a framework, begun at once on one cluster: by the number of ranks and the optimizer."""
    begun: dict[str, dict] = {}

    def of(framework):
        if framework not in begun:
            kinds = [(ranks, "sgd", {}) for ranks in (1, 2, 3)] + [(3, "adam", contract.ADAM)]
            begun[framework] = {
                (ranks, kind): contract.start(three, framework, steps=STEPS, workers=ranks, **options)
                for ranks, kind, options in kinds
            }
            for run in begun[framework].values():
                run.wait(400)
        return begun[framework]

    return of


@pytest.mark.slow
@pytest.mark.parametrize(("ranks", "kind"), [(1, "sgd"), (2, "sgd"), (3, "sgd"), (3, "adam")])
@pytest.mark.parametrize("framework", contract.FRAMEWORKS)
def test_every_step_equals_that_of_one_process(runs, framework, ranks, kind):
    """As PyTorch's test_DDP_niter (pytorch: test/distributed/test_c10d_common.py and its DDP tests), with batches that
    the ranks cannot share evenly and a last one of a single row.

    The runs were all begun at once on one cluster, as XGBoost's test_parallel_submits does
    (xgboost: tests/test_distributed/test_with_dask): each comes to the numbers that it has alone.
    """
    run = runs(framework)[ranks, kind]
    options = contract.ADAM if kind == "adam" else {}
    contract.assert_equal(run, contract.bare(framework, STEPS, **options))


@pytest.mark.slow
@pytest.mark.parametrize("framework", contract.FRAMEWORKS)
def test_two_rows_on_three_ranks_leave_one_without_training_and_validation_rows(three, framework):
    """As LightGBM's tests of workers without data (LightGBM: tests/python_package_test/test_dask.py,
    test_training_succeeds_even_if_some_workers_do_not_have_any_data).
    """
    features, target = contract.rows(2)
    run = contract.start(
        three, framework, data=(features, target), workers=3, batch_size=4, epochs=3, validation=(features, target),
        metrics=("f1", "recall"), accumulation=3, clip_norm=1e9,
    ).wait(200)  # fmt: skip
    contract.assert_equal(run, contract.bare(framework, 3, 2, batch_size=4))
    chosen = run.predict(features) > 0.5
    for name, function in (("f1", metrics.f1_score), ("recall", metrics.recall_score)):
        assert run.history[f"validation_{name}"][-1] == function(target, chosen, zero_division=0.0)
