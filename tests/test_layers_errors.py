"""What layers refuse, and what they say then: the layer, what came, and what was expected."""

import re

import numpy as np
import pytest

import msgflow.nn as nn
import msgflow.tensor as mt
from msgflow.errors import DTypeError, ShapeError


@pytest.mark.parametrize(
    ("layer", "shapes"),
    [
        (nn.Linear(4, 2), [(3, 5)]),
        (nn.Linear(4, 2), [()]),
        (nn.LayerNorm(4), [(3, 5)]),
        (nn.LayerNorm((2, 4)), [(4,)]),
        (nn.LayerNorm(1), [(3, 5)]),
        (nn.RMSNorm(4, elementwise_affine=False), [(3, 5)]),
        (nn.Conv1d(4, 6, 3), [(2, 5, 9)]),
        (nn.Conv1d(4, 6, 3), [(9,)]),
        (nn.Conv1d(4, 6, 3), [(1, 2, 4, 9)]),
        (nn.MultiHeadAttention(8, 2), [(3, 1, 7)] * 3),
        (nn.MultiHeadAttention(8, 2), [(8,)] * 3),
        (nn.MultiHeadAttention(8, 2), [(3, 1, 8), (3, 8), (3, 8)]),
        (nn.MultiHeadAttention(8, 2), [(3, 1, 8), (3, 2, 8), (3, 2, 8)]),
        (nn.MultiHeadAttention(8, 2), [(3, 1, 8), (5, 1, 8), (4, 1, 8)]),
        (nn.MultiHeadAttention(8, 2, batch_first=True), [(1, 3, 8), (2, 3, 8), (2, 3, 8)]),
        (nn.Flatten(), [(3,)]),
        (nn.Flatten(2, 1), [(3, 4, 5)]),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else str(value[0]),
)
def test_an_input_of_another_shape_is_refused_with_the_layer_and_the_shapes(layer, shapes):
    with pytest.raises(ShapeError) as caught:
        layer(*(mt.zeros(shape) for shape in shapes))
    message = str(caught.value)
    assert message.startswith(repr(layer).partition("\n")[0])
    assert all(str(shape) in message for shape in shapes)
    assert caught.value.shapes[: len(shapes)] == shapes


def test_the_error_of_a_linear_says_all_that_is_needed():
    with pytest.raises(ShapeError) as caught:
        nn.Linear(4, 2)(mt.zeros((3, 5)))
    assert str(caught.value) == (
        "Linear(in_features=4, out_features=2, bias=True): shape (3, 5) and (2, 4): "
        "the last axis of the input has to be 4"
    )


@pytest.mark.parametrize("ids", [[[7]], [-1]])
def test_an_id_out_of_range_is_refused(ids):
    with pytest.raises(ShapeError, match=r"Embedding\(7, 4\): .*not one of 0 to 6"):
        nn.Embedding(7, 4)(mt.tensor(ids))


def test_ids_that_are_no_whole_numbers_are_refused():
    with pytest.raises(DTypeError, match="float32"):
        nn.Embedding(7, 4)(mt.tensor([1.0]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Dropout(1.1), "a dropout probability is from 0 to 1, not 1.1"),
        (lambda: nn.Dropout(-0.1), "a dropout probability is from 0 to 1, not -0.1"),
        (lambda: nn.Dropout(float("nan")), "a dropout probability is from 0 to 1, not nan"),
        (lambda: nn.MultiHeadAttention(8, 2, dropout=2), "a dropout probability is from 0 to 1, not 2"),
        (lambda: nn.MultiHeadAttention(8, 3), "embed_dim 8 does not divide into 3 heads of one size"),
        (lambda: nn.MultiHeadAttention(8, 0), "embed_dim 8 does not divide into 0 heads of one size"),
        (lambda: nn.Embedding(7, 4, padding_idx=7), "padding_idx 7 is out of range for 7 embeddings"),
        (lambda: nn.GELU("sigmoid"), "approximate is 'none' or 'tanh', not 'sigmoid'"),
        (
            lambda: nn.TransformerEncoderLayer(8, 2, activation="selu"),
            "activation is 'relu' or 'gelu', or a function; not 'selu'",
        ),
        (lambda: nn.Conv1d(4, 6, 3, groups=4), "4 and 6 channels do not divide into 4 groups"),
        (lambda: nn.Conv1d(4, 6, 3, groups=0), "4 and 6 channels do not divide into 0 groups"),
        (lambda: nn.Conv1d(4, 6, (3, 3)), "a size along one axis is one number, not (3, 3)"),
        (lambda: nn.Conv1d(4, 6, 3, padding="full"), "padding is a number, 'same' or 'valid', not 'full'"),
        (lambda: nn.Conv1d(4, 6, 3, 2, "same"), "padding='same' is for a stride of 1, not 2"),
        (lambda: nn.LoRA(nn.Linear(4, 2), rank=0), "the rank of LoRA is at least 1, not 0"),
    ],
)
def test_settings_that_make_no_layer_are_refused(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.LayerNorm(4.0),
        lambda: nn.Conv1d(4, 6, 3.0),
        lambda: nn.Linear("4", 2),
        lambda: nn.LoRA(nn.Embedding(7, 4)),
        lambda: nn.Softmax(),
    ],
)
def test_settings_of_another_type_are_refused(make):
    with pytest.raises(TypeError):
        make()


def attend(**masks):
    layer, x = nn.MultiHeadAttention(8, 2, batch_first=True), mt.zeros((3, 5, 8))
    return layer(x, x, x, **masks)


@pytest.mark.parametrize("shape", [(5, 4), (3, 5, 5), (5,)])
def test_an_attention_mask_of_another_shape_is_refused(shape):
    with pytest.raises(ShapeError, match=r"\(5, 5\) and \(6, 5, 5\): the first is that of attn_mask"):
        attend(attn_mask=mt.zeros(shape))


@pytest.mark.parametrize("shape", [(5, 3), (5,), (3, 5, 1)])
def test_a_padding_mask_of_another_shape_is_refused(shape):
    with pytest.raises(ShapeError, match=r"\(3, 5\): the first is that of key_padding_mask"):
        attend(key_padding_mask=mt.zeros(shape))


def test_a_mask_of_whole_numbers_is_refused_because_it_may_mean_either():
    with pytest.raises(DTypeError, match="True hides"):
        attend(attn_mask=np.ones((5, 5), int))
