"""Layers without a state: functions that stand in a Sequential."""

import math

import numpy as np
import pytest

import msgflow.nn as nn
import msgflow.tensor as mt

X = np.random.default_rng(0).standard_normal((2, 3, 4))
erf = np.vectorize(math.erf)
EXP = np.exp(X)
BY_HAND = {
    "ReLU()": np.maximum(X, 0),
    "GELU(approximate='none')": X * (1 + erf(X / np.sqrt(2))) / 2,
    "GELU(approximate='tanh')": X * (1 + np.tanh(np.sqrt(2 / np.pi) * (X + 0.044715 * X**3))) / 2,
    "SiLU()": X / (1 + np.exp(-X)),
    "Sigmoid()": 1 / (1 + np.exp(-X)),
    "Tanh()": np.tanh(X),
    "Softmax(dim=1)": EXP / EXP.sum(1, keepdims=True),
    "LogSoftmax(dim=-1)": X - np.log(EXP.sum(-1, keepdims=True)),
    "Flatten(start_dim=1, end_dim=-1)": X.reshape(2, 12),
    "Flatten(start_dim=-3, end_dim=1)": X.reshape(6, 4),
    "Identity()": X,
    "Dropout(p=0.0)": X,
}


@pytest.mark.parametrize("line", BY_HAND)
async def test_each_is_its_formula_and_is_shown_as_it_was_made(line, door):
    layer = eval(f"nn.{line}")
    assert repr(layer) == line and not layer.state_dict()
    np.testing.assert_allclose((await door(layer, mt.tensor(X))).to_numpy(), BY_HAND[line], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("line", BY_HAND)
def test_numbers_of_any_size_give_neither_nan_nor_a_warning(line):
    x = mt.tensor([[-1e4, -1.0], [0.0, 1e4]])
    out = eval(f"nn.{line.replace('-3', '0')}")(x)
    assert np.isfinite(out.to_numpy()).all()


def test_identity_stands_in_for_any_layer():
    assert nn.Identity(4, 2, bias=False)("text") == "text"
