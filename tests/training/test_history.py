from lepton_nb.training.history import EPOCH_SCHEMA, History


def test_rows_are_kept_once_in_order_with_nulls_for_what_was_not_measured():
    history = History()
    assert not {"validation_accuracy", "validation_mae"} & {*history.epochs(None).columns}
    for epoch in (2, 1, 2):
        history.add_epoch({"epoch": epoch, "step": epoch * 10, "loss": 1 / epoch})
    assert history.epochs("binary")["epoch"].to_list() == [1, 2]
    assert history.epochs("binary")["validation_loss"].to_list() == [None, None]
    assert history.epochs("multiclass").columns == [name for name in EPOCH_SCHEMA if name != "validation_mae"]
    assert history.epochs("regression").columns == [name for name in EPOCH_SCHEMA if name != "validation_accuracy"]
    history.add_steps([{"step": step, "epoch": 1, "loss": 0.5, "elapsed_s": 1.0} for step in (4, 2)])
    history.add_steps([{"step": 4, "epoch": 1, "loss": 0.5, "elapsed_s": 1.0}])
    assert history.steps()["step"].to_list() == [2, 4]
