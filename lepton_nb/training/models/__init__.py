"""Descriptions of models: frozen values that become a PyTorch or a Keras model where they run, once the data is known.

One description stands for one function with the same trained weights in both frameworks, drawn from the same
distributions: weights and biases of dense, convolution and recurrent layers evenly from -1/sqrt(n) to 1/sqrt(n), where
n numbers go into a unit (for recurrent layers n is the layer's size), token embeddings from the standard normal
distribution, norms from 1 and 0. Outputs are logits for classes, numbers for a regression.
"""

from __future__ import annotations

from lepton_nb.training.models.building import build, check, framework_of, is_module
from lepton_nb.training.models.descriptions import (
    Convolutional,
    Description,
    Model,
    MultilayerPerceptron,
    Recurrent,
    Transformer,
    vocabulary_of,
)
from lepton_nb.training.models.factories import cnn, mlp, rnn, transformer
from lepton_nb.training.models.frameworks import FRAMEWORKS, Framework, load_keras
from lepton_nb.training.models.options import Activation, Cell
from lepton_nb.training.models.telling import described, told
from lepton_nb.training.models.weights import copy_weights

__all__ = [
    "FRAMEWORKS",
    "Activation",
    "Cell",
    "Convolutional",
    "Description",
    "Framework",
    "Model",
    "MultilayerPerceptron",
    "Recurrent",
    "Transformer",
    "build",
    "check",
    "cnn",
    "copy_weights",
    "described",
    "framework_of",
    "is_module",
    "load_keras",
    "mlp",
    "rnn",
    "told",
    "transformer",
    "vocabulary_of",
]
