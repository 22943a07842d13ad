"""MultiHeadAttention: weights, masks and layouts, by the formula of the paper in numpy."""

import numpy as np
import pytest

import msgflow.nn as nn
import msgflow.tensor as mt

BATCH, QUERIES, HEADS, SIZE = 3, 5, 2, 8
X = np.random.default_rng(0).standard_normal((BATCH, QUERIES, SIZE))


@pytest.fixture
def layer():
    mt.manual_seed(0)
    return nn.MultiHeadAttention(SIZE, HEADS, batch_first=True, dtype=mt.float64)


def by_hand(layer, added=0.0, x=X):
    """The weights (batch, heads, queries, keys) and the output (batch, queries, size)."""
    state = {key: value.to_numpy() for key, value in layer.state_dict().items()}
    projected = x @ state["in_proj_weight"].T + state["in_proj_bias"]
    # (three, batch, heads, positions, size of a head)
    q, k, v = projected.reshape(*x.shape[:2], 3, HEADS, SIZE // HEADS).transpose(2, 0, 3, 1, 4)
    scores = np.exp(q @ k.swapaxes(-1, -2) / np.sqrt(SIZE / HEADS) + added)
    weights = scores / scores.sum(-1, keepdims=True)
    joined = (weights @ v).transpose(0, 2, 1, 3).reshape(x.shape)
    return weights, joined @ state["out_proj.weight"].T + state["out_proj.bias"]


def check(layer, added=0.0, **masks):
    """Against the formula, with and without asking for the weights."""
    x = mt.tensor(X)
    expected_weights, expected = by_hand(layer, added)
    out, weights = layer(x, x, x, average_attn_weights=False, **masks)
    np.testing.assert_allclose(weights.to_numpy(), expected_weights, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(out.to_numpy(), expected, rtol=1e-10)
    out, weights = layer(x, x, x, need_weights=False, **masks)
    assert weights is None
    np.testing.assert_allclose(out.to_numpy(), expected, rtol=1e-10)


async def test_it_is_the_formula_of_the_paper_through_both_doors(layer, door):
    x = mt.tensor(X)
    weights, expected = by_hand(layer)
    out, mean = await door(layer, x, x, x)
    np.testing.assert_allclose(out.to_numpy(), expected, rtol=1e-10)
    np.testing.assert_allclose(mean.to_numpy(), weights.mean(1), rtol=1e-10)


HIDDEN = np.random.default_rng(1).random((QUERIES, QUERIES)) < 0.3
HIDDEN[:, 2] = False  # something is left to look at
OF_HEADS = np.random.default_rng(2).standard_normal((BATCH * HEADS, QUERIES, QUERIES))
PADDING = np.arange(QUERIES) >= np.array([[5], [3], [4]])
LATER = np.triu(np.ones((QUERIES, QUERIES), bool), 1)


def test_true_in_a_mask_hides_and_a_float_is_added(layer):
    check(layer, np.where(HIDDEN, -np.inf, 0), attn_mask=mt.tensor(HIDDEN))
    check(layer, OF_HEADS[0], attn_mask=OF_HEADS[0])


def test_a_mask_of_each_head_counts_the_heads_of_the_first_of_the_batch_first(layer):
    check(layer, OF_HEADS.reshape(BATCH, HEADS, QUERIES, QUERIES), attn_mask=mt.tensor(OF_HEADS))


def test_true_in_a_padding_mask_hides_a_key_from_all_queries(layer):
    check(layer, np.where(PADDING, -np.inf, 0)[:, None, None], key_padding_mask=PADDING)


def test_causal_attention_sees_nothing_that_comes_later(layer):
    check(layer, np.where(LATER, -np.inf, 0), is_causal=True)


def test_masks_add_up(layer):
    added = np.where(HIDDEN | LATER, -np.inf, 0) + np.where(PADDING, -np.inf, 0)[:, None, None]
    added[:, :, 0, 0] = OF_HEADS[0, 0, 0]
    mask = np.where(HIDDEN, -np.inf, 0)
    mask[0, 0] = OF_HEADS[0, 0, 0]
    check(layer, added, attn_mask=mask, key_padding_mask=PADDING, is_causal=True)


def test_what_is_hidden_gets_no_gradient(layer):
    x = mt.tensor(X, requires_grad=True)
    out, _ = layer(x, x, x, is_causal=True)
    out[:, 1].sum().backward()
    reached = np.abs(x.grad.to_numpy()).max((0, 2)) > 0
    assert reached.tolist() == [True, True, False, False, False]


def test_positions_come_first_unless_the_batch_does(layer):
    other = nn.MultiHeadAttention(SIZE, HEADS, dtype=mt.float64)
    other.load_state_dict(layer.state_dict())
    x, swapped = mt.tensor(X), mt.tensor(X.swapaxes(0, 1))
    out, weights = layer(x, x, x, key_padding_mask=PADDING)
    of_other, same_weights = other(swapped, swapped, swapped, key_padding_mask=PADDING)
    np.testing.assert_allclose(of_other.to_numpy().swapaxes(0, 1), out.to_numpy(), rtol=1e-12)
    np.testing.assert_allclose(same_weights.to_numpy(), weights.to_numpy(), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("batch_first", [True, False])
def test_without_a_batch_that_axis_is_not_there(layer, batch_first):
    layer.batch_first = batch_first
    x = mt.tensor(X[0])
    weights, expected = by_hand(layer, np.where(PADDING[1], -np.inf, 0), X[:1])
    out, mean = layer(x, x, x, key_padding_mask=PADDING[1])
    np.testing.assert_allclose(out.to_numpy(), expected[0], rtol=1e-10)
    np.testing.assert_allclose(mean.to_numpy(), weights[0].mean(0), rtol=1e-10, atol=1e-14)


def test_one_tensor_given_three_times_or_three_equal_ones_give_the_same(layer):
    x = mt.tensor(X)
    once, _ = layer(x, x, x)
    thrice, _ = layer(x, mt.tensor(X), mt.tensor(X))
    np.testing.assert_allclose(once.to_numpy(), thrice.to_numpy(), rtol=1e-12)


@pytest.mark.parametrize("dtype", [mt.float16, mt.bfloat16, mt.float32])
def test_masks_of_huge_numbers_hide_in_every_type_without_a_warning(layer, dtype):
    x = mt.tensor(X, dtype)
    layer.to(dtype)
    big, infinite = (np.where(HIDDEN, value, 0).astype("float32") for value in (-1e9, -np.inf))
    out, weights = layer(x, x, x, attn_mask=big)
    expected, _ = layer(x, x, x, attn_mask=infinite)
    assert out.dtype is weights.dtype is dtype
    np.testing.assert_array_equal(out.to_numpy(), expected.to_numpy())
    assert (weights.to_numpy()[:, HIDDEN] == 0).all()


def test_a_query_that_may_see_nothing_gives_no_nan(layer):
    x, nothing = mt.tensor(X), np.ones((QUERIES, QUERIES), bool)
    for need_weights in (True, False):
        out, _ = layer(x, x, x, attn_mask=nothing, need_weights=need_weights)
        np.testing.assert_allclose(out.to_numpy(), np.zeros(X.shape), atol=1e-12)


def test_dropout_drops_weights_in_training_mode_only(layer):
    layer.dropout = 0.5
    x = mt.tensor(X)
    mt.manual_seed(0)
    _, weights = layer(x, x, x, average_attn_weights=False)
    expected, _ = by_hand(layer)
    dropped = weights.to_numpy() == 0
    assert 0.3 < dropped.mean() < 0.7
    np.testing.assert_allclose(weights.to_numpy()[~dropped], 2 * expected[~dropped], rtol=1e-10)
    check(layer.eval())


def test_the_masks_of_an_encoder_reach_its_attention(layer):
    mt.manual_seed(0)
    part = nn.TransformerEncoderLayer(SIZE, HEADS, 16, 0.0, batch_first=True, dtype=mt.float64)
    encoder = nn.TransformerEncoder(part, 2, norm=nn.LayerNorm(SIZE, dtype=mt.float64))
    changed = X.copy()
    changed[:, 3:] += 1  # which the first three do not see
    one, two = (encoder(mt.tensor(x), is_causal=True).to_numpy()[:, :3] for x in (X, changed))
    np.testing.assert_allclose(one, two, rtol=1e-12)
    padding = np.broadcast_to(np.arange(QUERIES) >= 3, (BATCH, QUERIES))
    one, two = (encoder(mt.tensor(x), src_key_padding_mask=padding).to_numpy()[:, :3] for x in (X, changed))
    np.testing.assert_allclose(one, two, rtol=1e-12)
    one, two = (encoder(mt.tensor(x), mask=mt.tensor(LATER)).to_numpy()[:, :3] for x in (X, changed))
    np.testing.assert_allclose(one, two, rtol=1e-12)


@pytest.mark.parametrize("norm_first", [False, True])
def test_an_encoder_layer_is_its_parts_in_their_order(norm_first):
    part = nn.TransformerEncoderLayer(SIZE, HEADS, 16, 0.0, "gelu", norm_first=norm_first, dtype=mt.float64)
    x = mt.tensor(X)

    def attended(x):
        return part.self_attn(x, x, x)[0]

    def fed_forward(x):
        return part.linear2(mt.gelu(part.linear1(x)))

    if norm_first:
        middle = x + attended(part.norm1(x))
        expected = middle + fed_forward(part.norm2(middle))
    else:
        middle = part.norm1(x + attended(x))
        expected = part.norm2(middle + fed_forward(middle))
    np.testing.assert_allclose(part(x).to_numpy(), expected.to_numpy(), rtol=1e-10)


def test_the_activation_of_an_encoder_layer_may_be_any_function():
    mt.manual_seed(0)
    one = nn.TransformerEncoderLayer(SIZE, HEADS, 16, 0.0, activation=lambda x: mt.relu(x))
    two = nn.TransformerEncoderLayer(SIZE, HEADS, 16, 0.0)
    two.load_state_dict(one.state_dict())
    x = mt.tensor(X.astype("float32"))
    np.testing.assert_array_equal(one(x).to_numpy(), two(x).to_numpy())
