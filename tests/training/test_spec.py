import pytest

import lepton_nb as lnb
from lepton_nb.training.spec import TrainingSpec


def test_an_unknown_option_names_the_closest():
    with pytest.raises(lnb.TrainingError, match="unknown option 'learning_rat'; did you mean 'learning_rate'?"):
        TrainingSpec.of(learning_rat=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "workers is 0; give a whole number of 1 or more"),
        ({"epochs": 0}, "epochs is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_size": 2.5}, "batch_size is 2.5"),
        ({"epochs": True}, "epochs is True"),
        ({"learning_rate": 0}, "learning_rate is 0; give a number above 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"weight_decay": -1}, "weight_decay is -1; give a number of 0 or more"),
        ({"optimizer": "adamm"}, "unknown optimizer 'adamm'; did you mean 'adam'"),
        ({"loss": "bce"}, "unknown loss 'bce'"),
        ({"precision": "float16"}, "unknown precision 'float16'"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**62}, "give an integer from 0 to 4,294,967,295"),
        ({"target": ["y"]}, "give the name of one column"),
        ({"steps": 0}, "steps is 0; give a whole number of 1 or more"),
        ({"accumulation": 0}, "accumulation is 0"),
        ({"patience": 1.5}, "patience is 1.5"),
        ({"warmup_steps": -1}, "warmup_steps is -1"),
        ({"schedule": "cosin"}, "unknown schedule 'cosin'; did you mean 'cosine'"),
        ({"clip_norm": 0}, "clip_norm is 0; give a number above 0"),
        ({"momentum": 0.9}, "momentum is 0.9 with optimizer='adam'; give .* optimizer='sgd'"),
        ({"momentum": 1, "optimizer": "sgd"}, "give a number below 1"),
        ({"class_weights": "balance"}, "give 'balanced', or the weight of every class"),
        ({"class_weights": {0.5: 1}}, "names the class 0.5; classes are whole numbers"),
        ({"class_weights": {0: 0}}, r"class_weights\[0\] is 0; give a number above 0"),
    ],
)
def test_values_that_cannot_be_are_refused(options, message):
    with pytest.raises(lnb.TrainingError, match=message):
        TrainingSpec.of(**options)
