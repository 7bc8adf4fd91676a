"""The PyTorch models leave for elsewhere: traced, exported and as ONNX, for any number of rows."""

import io

import numpy as np
import pytest
import torch

import lepton_nb as lnb
from lepton_nb.training.models import build

CASES = [
    (lnb.models.mlp((4,)), (4, 3)),
    (lnb.models.cnn((3, 4), kernel=2), (7, 5, 2)),
    (lnb.models.rnn("gru", (4,), bidirectional=True, each_step=True), (5, 3)),
    (lnb.models.rnn("lstm", (4, 3), vocabulary=9, bidirectional=True), (5,)),
    (lnb.models.transformer(1, 8, 2, vocabulary=9, causal=True, each_step=True), (5,)),
    (lnb.models.transformer(1, 8, 2), (5, 3)),
]


def rows_of(shape, count):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 9, (count, *shape))).float()


@pytest.mark.filterwarnings("ignore:.*assigned during export.*")
@pytest.mark.parametrize(("description", "shape"), CASES)
def test_a_model_is_traced_and_exported(description, shape):
    module = build(description, shape, 0).eval()
    few, many = rows_of(shape, 2), rows_of(shape, 7)
    expected = module(many)
    torch.testing.assert_close(torch.jit.trace(module, few)(many), expected)
    exported = torch.export.export(module, (few,), dynamic_shapes=({0: torch.export.Dim("rows")},))
    torch.testing.assert_close(exported.module()(many), expected)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*assigned during export.*", "ignore::FutureWarning")
@pytest.mark.parametrize(("description", "shape"), [CASES[1], CASES[3], CASES[4]])
def test_a_model_runs_as_onnx(description, shape):
    import onnxruntime

    module = build(description, shape, 0).eval()
    few, many = rows_of(shape, 2), rows_of(shape, 7)
    program = torch.onnx.export(
        module, (few,), dynamo=True, dynamic_shapes=({0: torch.export.Dim("rows")},), verbose=False
    )
    file = io.BytesIO()
    program.save(file)
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: many.numpy()})
    np.testing.assert_allclose(found, module(many).detach().numpy(), atol=1e-5)
