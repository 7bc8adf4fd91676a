"""What models of sequences and images do with steps, padding and channels; in PyTorch, which Keras equals by test."""

import pytest
import torch

import lepton_nb as lnb
from lepton_nb.training.models import build

CELLS = ["gru", "lstm"]
DOUBLE = {"dtype": "float64"}


@pytest.mark.parametrize("make", [lnb.models.rnn, lnb.models.transformer])
@pytest.mark.parametrize(
    ("options", "shape", "expected"),
    [
        ({}, (6, 3), (4, 1)),
        ({}, 6, (4, 1)),
        ({"vocabulary": 9}, 6, (4, 1)),
        ({"task": "multiclass", "classes": 5}, (6, 3), (4, 5)),
        ({"each_step": True}, (6, 3), (4, 6)),
        ({"each_step": True, "task": "regression", "vocabulary": 9}, 6, (4, 6)),
        ({"each_step": True, "task": "multiclass", "classes": 5}, (6, 3), (4, 6, 5)),
    ],
)
def test_outputs_are_for_a_row_or_for_each_step(make, options, shape, expected):
    rows = torch.ones(4, *((shape,) if isinstance(shape, int) else shape))
    assert make(**options).build(shape)(rows).shape == expected


@pytest.mark.parametrize("shape", [(1,), (7,), (1, 2), (7, 2), (1, 1, 3), (7, 5, 3)])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
def test_a_convolution_takes_rows_of_any_size(shape, kernel):
    module = lnb.models.cnn((4, 4, 4), kernel=kernel, task="multiclass", classes=3).build(shape)
    assert module(torch.ones(2, *shape)).shape == (2, 3)


def test_a_convolution_has_channels_last():
    module = lnb.models.cnn((4,)).build((8, 6, 3))
    assert module.blocks[0].convolution.in_channels == 3


@pytest.mark.parametrize(
    ("description", "shape"),
    [
        (lnb.models.cnn((4, 4)), (8, 6, 3)),
        (lnb.models.rnn(bidirectional=True), (6, 3)),
        (lnb.models.transformer(width=8, heads=2), (6, 3)),
        (lnb.models.transformer(width=8, heads=2, vocabulary=9), (6,)),
    ],
)
def test_rows_do_not_depend_on_each_other(description, shape):
    module = build(description, shape, 0, **DOUBLE).eval()
    rows = torch.randint(0, 9, (5, *shape)).double()
    together = module(rows)
    alone = torch.cat([module(row) for row in rows.split(1)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_recurrent_layer_passes_over_padding_wherever_it_stands(cell, bidirectional):
    options = {"bidirectional": bidirectional, "vocabulary": 9, "hidden": (5, 4)}
    last = build(lnb.models.rnn(cell, **options), 6, 0, **DOUBLE)
    dense, *spread = torch.tensor(
        [[3, 5, 2, 0, 0, 0], [0, 0, 0, 3, 5, 2], [3, 0, 5, 0, 0, 2], [0, 3, 0, 0, 5, 2]], dtype=torch.float64
    )
    expected = last(dense[None, :3])
    for row in (dense, *spread):
        torch.testing.assert_close(last(row[None]), expected, rtol=0, atol=1e-12)
    each = build(lnb.models.rnn(cell, each_step=True, **options), 6, 0, **DOUBLE)
    expected = each(dense[None, :3])[0]
    for row in (dense, *spread):
        found = each(row[None])[0]
        torch.testing.assert_close(found[row != 0], expected, rtol=0, atol=1e-12)
        torch.testing.assert_close(found[row == 0], each.head.bias.expand(3), rtol=0, atol=1e-12)


def test_a_transformer_does_not_see_padding():
    options = {"width": 8, "heads": 2, "vocabulary": 9}
    pooled = build(lnb.models.transformer(**options), 6, 0, **DOUBLE)
    row = torch.tensor([[3, 5, 2, 0, 0, 0]], dtype=torch.float64)
    torch.testing.assert_close(pooled(row), pooled(row[:, :3]), rtol=0, atol=1e-12)
    each = build(lnb.models.transformer(each_step=True, **options), 6, 0, **DOUBLE)
    torch.testing.assert_close(each(row)[:, :3], each(row[:, :3]), rtol=0, atol=1e-12)
    assert torch.equal(each(row)[0, 3:], each.head.bias.expand(3))


@pytest.mark.parametrize("causal", [True, False])
def test_a_causal_transformer_does_not_look_ahead(causal):
    module = build(lnb.models.transformer(width=8, heads=2, causal=causal, each_step=True), (6, 3), 0, **DOUBLE)
    rows = torch.randn(2, 6, 3, dtype=torch.float64)
    changed = rows.clone()
    changed[:, 4:] += 1
    same = torch.isclose(module(rows), module(changed), rtol=0, atol=1e-12)
    assert same[:, :4].all() == causal
    assert not same[:, 4:].any()


def test_a_transformer_knows_the_order_of_the_steps():
    module = build(lnb.models.transformer(width=8, heads=2), (6, 3), 0, **DOUBLE)
    rows = torch.randn(2, 6, 3, dtype=torch.float64)
    assert not torch.isclose(module(rows), module(rows.flip(1))).any()


@pytest.mark.parametrize("make", [lnb.models.rnn, lnb.models.transformer])
@pytest.mark.parametrize("each_step", [False, True])
def test_a_row_of_padding_alone_gives_the_heads_bias_and_a_finite_gradient(make, each_step):
    module = build(make(vocabulary=9, each_step=each_step), 4, 0)
    output = module(torch.tensor([[0.0, 0, 0, 0], [1, 2, 0, 0]]))
    assert torch.equal(output[0], module.head.bias.expand(output[0].shape))
    output.square().sum().backward()
    assert all(value.grad.isfinite().all() for value in module.parameters() if value.requires_grad)


def test_an_lstm_has_one_bias_that_is_trained():
    module = lnb.models.rnn("lstm", (4,)).build((5, 3))
    trained = {name: value.numel() for name, value in module.named_parameters() if value.requires_grad}
    assert sum(trained.values()) == 4 * 4 * (3 + 4 + 1) + 4 + 1
    assert not dict(module.named_parameters())["layers.0.onward.bias_hh_l0"].any()
