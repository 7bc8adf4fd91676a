"""What a researcher writes: `lnb.models.mlp(...)`, cnn, rnn, transformer; every option is checked here."""

from __future__ import annotations

from collections.abc import Sequence

from lepton_nb.errors import TrainingError
from lepton_nb.training.models.descriptions import Convolutional, MultilayerPerceptron, Recurrent, Transformer
from lepton_nb.training.models.frameworks import Framework
from lepton_nb.training.models.options import (
    Activation,
    Cell,
    hinted,
    outputs_of,
    require_choices,
    require_count,
    require_flags,
    require_vocabulary,
    share,
    sizes,
)
from lepton_nb.training.spec import Task


@hinted
def mlp(
    hidden: Sequence[int] = (128, 64),
    task: Task = "binary",
    activation: Activation = "relu",
    classes: int | None = None,
    framework: Framework = "torch",
    dropout: float = 0.0,
) -> MultilayerPerceptron:
    """A multilayer perceptron, `hidden=()` being a linear model; rows with more than one dimension are flattened.

    `task` "binary" gives one logit, "multiclass" one logit for each of `classes` classes, "regression" one number.
    `framework` is "torch" or "keras": the same function, with weights drawn alike.
    `dropout` is the share of each hidden layer's units that is left out at random in a training step, 0 <= p < 1.
    Raises TrainingError for sizes below 1, an unknown name, or `classes` missing where the task needs it.
    """
    require_choices(framework=framework, task=task, activation=activation)
    left_out = share("dropout", dropout)
    layers = sizes("hidden", hidden, "(128, 64)", least=0)
    return MultilayerPerceptron(layers, task, activation, outputs_of(task, classes), left_out, framework)


@hinted
def cnn(
    channels: Sequence[int] = (32, 64),
    kernel: int = 3,
    task: Task = "binary",
    activation: Activation = "relu",
    classes: int | None = None,
    framework: Framework = "torch",
    dropout: float = 0.0,
) -> Convolutional:
    """A convolutional network for images (height, width, channels) and sequences (steps, channels).

    Channels are last in both frameworks. A flat row (n,) is taken as n steps of one number. Each entry of `channels`
    is a block: a convolution of `kernel` by `kernel` (or `kernel` steps) that keeps the size, a norm over all numbers
    of the row (GroupNorm of one group, so that rows do not depend on each other), the activation, a maximum over
    2 by 2, rounded up, and dropout. The mean over what is left goes into a linear head: (rows, outputs).
    The other options are those of `mlp`; so are the errors.
    """
    require_choices(framework=framework, task=task, activation=activation)
    return Convolutional(
        sizes("channels", channels, "(32, 64)"),
        require_count("kernel", kernel, "a size of 1 or more, such as 3"),
        task,
        activation,
        outputs_of(task, classes),
        share("dropout", dropout),
        framework,
    )


@hinted
def rnn(
    cell: Cell = "gru",
    hidden: Sequence[int] = (64,),
    task: Task = "binary",
    bidirectional: bool = False,
    each_step: bool = False,
    vocabulary: int | None = None,
    embedding: int = 32,
    classes: int | None = None,
    framework: Framework = "torch",
    dropout: float = 0.0,
) -> Recurrent:
    """A recurrent network, "gru" or "lstm", over sequences; each entry of `hidden` is a layer.

    Rows are (steps, features), or (steps,) of one number each. With `vocabulary` they are (steps,) of token numbers
    from 0 to vocabulary - 1, embedded in `embedding` numbers; 0 is padding, wherever it stands: the layers pass over
    it, and of a row of nothing else the state is 0.
    The head sees the last state (with `bidirectional`, that of both directions) and gives (rows, outputs). With
    `each_step` it sees the state of every step, 0 at padding, and gives (rows, steps), or (rows, steps, classes).
    `dropout` works on what each layer gives. An LSTM has one bias in both frameworks: that which PyTorch adds to it
    is 0 and is not trained. The other options are those of `mlp`; so are the errors.
    """
    require_choices(framework=framework, task=task, cell=cell)
    require_flags(bidirectional=bidirectional, each_step=each_step)
    require_vocabulary(vocabulary)
    return Recurrent(
        cell,
        sizes("hidden", hidden, "(64,)"),
        task,
        outputs_of(task, classes),
        bidirectional,
        each_step,
        vocabulary,
        require_count("embedding", embedding, "a size of 1 or more, such as 32"),
        share("dropout", dropout),
        framework,
    )


@hinted
def transformer(
    layers: int = 2,
    width: int = 64,
    heads: int = 4,
    task: Task = "binary",
    each_step: bool = False,
    vocabulary: int | None = None,
    causal: bool = False,
    activation: Activation = "gelu",
    classes: int | None = None,
    framework: Framework = "torch",
    dropout: float = 0.0,
) -> Transformer:
    """A transformer encoder over sequences, of `layers` blocks of `width` numbers a step and `heads` heads.

    Rows, padding and outputs are as of `rnn`; the inputs come to `width` numbers by a linear layer, or an embedding.
    Positions are sines and cosines, added to them. A block is attention, then two dense layers (4 * width, the
    activation, width), each after a LayerNorm and added to what it was given; `dropout` works on what both add. After
    a last norm the head sees the mean over the steps that are no padding, or with `each_step` every step.
    With `causal` a step sees itself and those before it alone. `width` is even and a multiple of `heads`.
    The other options are those of `mlp`; so are the errors.
    """
    require_choices(framework=framework, task=task, activation=activation)
    require_flags(each_step=each_step, causal=causal)
    require_vocabulary(vocabulary)
    for what, value, example in (("layers", layers, "2"), ("width", width, "64"), ("heads", heads, "4")):
        require_count(what, value, f"a whole number of 1 or more, such as {example}")
    if width % heads or width % 2:
        near = max(1, round(width / (2 * heads))) * 2 * heads
        raise TrainingError(
            f"width is {width} with heads={heads}; give an even width that is a multiple of heads, such as {near}",
            width=width,
            heads=heads,
        )
    return Transformer(
        layers,
        width,
        heads,
        task,
        activation,
        outputs_of(task, classes),
        each_step,
        vocabulary,
        share("dropout", dropout),
        causal,
        framework,
    )
