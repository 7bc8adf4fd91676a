"""A training loop of one rank in this process, over rows in files."""

import numpy as np

from lepton_nb.training.batches import open_source
from lepton_nb.training.loop import Loop
from lepton_nb.training.placement import place

ALONE = place(("tcp://127.0.0.1:1",), 1)[0]


def torch_engine(model, shape, spec):
    import torch

    from lepton_nb.training.torch_engine import TorchEngine
    from lepton_nb.training.torch_group import Group

    return TorchEngine(model, shape, spec, Group(ALONE, torch.device("cpu")))


def loop_of(engine, model, spec, folder, channel, resume=None):
    """A loop over the rows in `folder`; `engine` is such as `torch_engine`."""
    train = open_source(folder, "train")
    return Loop(spec, engine(model, train.shape, spec), train, open_source(folder, "validation"), channel, resume)


def write_rows(folder, **parts):
    """Write train=(features, target) and so on as ranks find them."""
    folder.mkdir(exist_ok=True)
    for part, (features, target) in parts.items():
        np.save(folder / f"{part}_features.npy", features)
        np.save(folder / f"{part}_target.npy", target)
