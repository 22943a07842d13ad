"""Layers of tensors as Modules: what they compute, their state, their modes, and what they refuse."""

import itertools
import threading
from copy import deepcopy

import numpy as np
import pytest

import msgflow as mf
import msgflow.nn as nn
import msgflow.tensor as mt
from msgflow.errors import StateDictError
from tests import tensor_backends

backend = tensor_backends.backend


def numbers(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype("float32")


IDS = np.array([[0, 3, 6], [2, 2, 5]])

# Each layer with an input, and its state.
LAYERS = {
    "linear": (lambda: nn.Linear(4, 3), [numbers(2, 4)], {"weight": (3, 4), "bias": (3,)}),
    "linear without bias": (lambda: nn.Linear(4, 3, bias=False), [numbers(2, 4)], {"weight": (3, 4)}),
    "embedding": (lambda: nn.Embedding(7, 4), [IDS], {"weight": (7, 4)}),
    "embedding with padding": (lambda: nn.Embedding(7, 4, padding_idx=2), [IDS], {"weight": (7, 4)}),
    "layer norm": (lambda: nn.LayerNorm(4), [numbers(2, 4)], {"weight": (4,), "bias": (4,)}),
    "layer norm of two axes": (
        lambda: nn.LayerNorm([3, 4]),
        [numbers(2, 3, 4)],
        {"weight": (3, 4), "bias": (3, 4)},
    ),
    "layer norm without bias": (lambda: nn.LayerNorm(4, bias=False), [numbers(2, 4)], {"weight": (4,)}),
    "layer norm without state": (lambda: nn.LayerNorm(4, elementwise_affine=False), [numbers(2, 4)], {}),
    "rms norm": (lambda: nn.RMSNorm(4), [numbers(2, 4)], {"weight": (4,)}),
    "rms norm of two axes": (lambda: nn.RMSNorm((3, 4), 1e-3), [numbers(2, 3, 4)], {"weight": (3, 4)}),
    "rms norm without state": (lambda: nn.RMSNorm(4, elementwise_affine=False), [numbers(2, 4)], {}),
    "dropout": (nn.Dropout, [numbers(2, 4)], {}),
    "convolution": (lambda: nn.Conv1d(4, 6, 3), [numbers(2, 4, 9)], {"weight": (6, 4, 3), "bias": (6,)}),
    "convolution in groups": (
        lambda: nn.Conv1d(4, 6, 2, 2, "valid", (2,), 2, bias=False),
        [numbers(4, 9)],
        {"weight": (6, 2, 2)},
    ),
    "convolution to the same length": (
        lambda: nn.Conv1d(4, 2, 4, padding="same"),
        [numbers(2, 4, 9)],
        {"weight": (2, 4, 4), "bias": (2,)},
    ),
    "attention": (
        lambda: nn.MultiHeadAttention(8, 2),
        [numbers(5, 3, 8)] * 3,
        {"in_proj_weight": (24, 8), "in_proj_bias": (24,), "out_proj.weight": (8, 8), "out_proj.bias": (8,)},
    ),
    "attention to other sizes": (
        lambda: nn.MultiHeadAttention(8, 2, bias=False, kdim=3, batch_first=True),
        [numbers(2, 5, 8), numbers(2, 6, 3), numbers(2, 6, 8)],
        {"q_proj_weight": (8, 8), "k_proj_weight": (8, 3), "v_proj_weight": (8, 8), "out_proj.weight": (8, 8)},
    ),
    "encoder layer": (
        lambda: nn.TransformerEncoderLayer(8, 2, 16),
        [numbers(5, 3, 8)],
        {
            "self_attn.in_proj_weight": (24, 8),
            "self_attn.in_proj_bias": (24,),
            "self_attn.out_proj.weight": (8, 8),
            "self_attn.out_proj.bias": (8,),
            "linear1.weight": (16, 8),
            "linear1.bias": (16,),
            "linear2.weight": (8, 16),
            "linear2.bias": (8,),
            "norm1.weight": (8,),
            "norm1.bias": (8,),
            "norm2.weight": (8,),
            "norm2.bias": (8,),
        },
    ),
    "LoRA": (
        lambda: nn.LoRA(nn.Linear(4, 3), rank=2),
        [numbers(2, 4)],
        {"lora_A": (2, 4), "lora_B": (3, 2), "merged": False, "linear.weight": (3, 4), "linear.bias": (3,)},
    ),
}
WITH_STATE = [name for name, (_, _, state) in LAYERS.items() if state]


def made(name):
    mt.manual_seed(0)
    make, inputs, _ = LAYERS[name]
    return make(), inputs


def first(output):
    return output[0] if isinstance(output, tuple) else output


@pytest.mark.parametrize("name", LAYERS)
def test_the_state_has_the_names_the_order_and_the_shapes_of_pytorch(name):
    make, _, expected = LAYERS[name]
    state = make().state_dict()
    assert [(key, getattr(value, "shape", value)) for key, value in state.items()] == list(expected.items())


@pytest.mark.parametrize("name", LAYERS)
def test_a_seed_makes_the_same_weights_again_and_another_others(name):
    same, again = made(name)[0], made(name)[0]
    assert same.digest() == again.digest()
    other = LAYERS[name][0]()
    # What begins as ones and zeros is the same in each.
    assert (same.digest() == other.digest()) == ("norm" in name or name == "dropout")


@pytest.mark.parametrize("name", [name for name in WITH_STATE if name != "LoRA"])
def test_gradients_reach_every_parameter_in_its_shape(name):
    layer, inputs = made(name)
    out = first(layer(*map(mt.tensor, inputs)))
    (out * out * mt.tensor(numbers(*out.shape))).sum().backward()
    for key, parameter in layer.named_parameters():
        assert parameter.grad.shape == parameter.data.shape, key
        assert np.abs(parameter.grad.to_numpy()).max() > 0, key


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_computes_the_same_on_every_library_of_arrays(name, backend):
    layer, inputs = made(name)
    layer.eval()
    expected = first(layer(*map(mt.tensor, inputs))).to_numpy()
    for module in layer.modules():
        for key, parameter in dict(module.named_parameters(recurse=False)).items():
            module.register_parameter(key, nn.Parameter(backend(parameter.data)))
    np.testing.assert_allclose(first(layer(*map(backend, inputs))).to_numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "line",
    [
        "Linear(in_features=4, out_features=2, bias=True)",
        "LayerNorm((3, 4), eps=1e-05, elementwise_affine=True, bias=True)",
        "RMSNorm((4,), eps=None, elementwise_affine=True)",
        "Conv1d(4, 6, kernel_size=(3,), stride=(1,))",
        "Conv1d(4, 6, kernel_size=(3,), stride=(2,), padding=(1,), dilation=(2,), groups=2, bias=False)",
        "Conv1d(4, 6, kernel_size=(3,), stride=(1,), padding='same')",
    ],
)
def test_a_layer_is_shown_as_it_is_made(line):
    assert repr(eval(f"nn.{line}")) == line.replace("'", "")


def test_convolution_sums_products_with_a_filter_that_goes_along():
    layer, x = nn.Conv1d(4, 6, 3, stride=2, padding=1, dilation=2, groups=2, dtype=mt.float64), numbers(2, 4, 9)
    weight, rows = layer.weight.to_numpy(), np.pad(x.astype(float), ((0, 0), (0, 0), (1, 1)))
    expected = np.zeros((2, 6, 4))
    for channel, place in np.ndindex(6, 4):
        own = slice(0, 2) if channel < 3 else slice(2, 4)  # the channels of its group
        seen = rows[:, own, 2 * place : 2 * place + 5 : 2]
        expected[:, channel, place] = (seen * weight[channel]).sum((1, 2)) + layer.bias.to_numpy()[channel]
    np.testing.assert_allclose(layer(mt.tensor(x.astype(float))).to_numpy(), expected, rtol=1e-10)


@pytest.mark.parametrize("name", LAYERS)
def test_to_float16_and_back(name):
    layer, inputs = made(name)
    layer.eval()
    arrays = [mt.tensor(array) for array in inputs]
    exact = first(layer(*arrays)).to_numpy()
    layer.to(mt.float16)
    halves = [array.to(mt.float16) if array.dtype.is_floating else array for array in arrays]
    out = first(layer(*halves))
    assert out.dtype is mt.float16
    np.testing.assert_allclose(out.to_numpy(), exact, atol=5e-3)
    assert {parameter.data.dtype for parameter in layer.to(dtype="float32").parameters()} <= {mt.float32}


async def test_linear_is_the_product_with_the_transposed_weight_plus_the_bias(door):
    layer, x = nn.Linear(4, 3), numbers(2, 5, 4)
    out = await door(layer, mt.tensor(x))
    np.testing.assert_allclose(
        out.to_numpy(), x @ layer.weight.to_numpy().T + layer.bias.to_numpy(), rtol=1e-5, atol=1e-6
    )


def test_an_array_of_numpy_goes_into_a_layer_as_it_is():
    layer, x = nn.Linear(4, 3), numbers(2, 4)
    np.testing.assert_array_equal(layer(x).to_numpy(), layer(mt.tensor(x)).to_numpy())


def test_embedding_looks_rows_up_also_by_lists():
    layer = nn.Embedding(7, 4)
    np.testing.assert_array_equal(layer(IDS.tolist()).to_numpy(), layer.weight.to_numpy()[IDS])


@pytest.mark.parametrize("padding_idx", [2, -5])
def test_the_padding_row_is_zeros_and_gets_no_gradient(padding_idx):
    layer = nn.Embedding(7, 4, padding_idx)
    layer(mt.tensor(IDS)).sum().backward()
    gradient = layer.get_parameter("weight").grad.to_numpy()
    assert not layer.weight.to_numpy()[2].any() and not gradient[2].any()
    assert gradient[0].tolist() == [1, 1, 1, 1]
    assert repr(layer) == "Embedding(7, 4, padding_idx=2)"


def test_norms_are_their_formulas_over_the_last_axes_together():
    x = numbers(2, 3, 4).astype(float)
    centred = x - x.mean((1, 2), keepdims=True)
    expected = centred / np.sqrt((centred**2).mean((1, 2), keepdims=True) + 1e-5)
    layer = nn.LayerNorm((3, 4), dtype=mt.float64)
    np.testing.assert_allclose(layer(mt.tensor(x)).to_numpy(), expected, rtol=1e-10)

    expected = x / np.sqrt((x**2).mean(-1, keepdims=True) + np.finfo(float).eps)
    np.testing.assert_allclose(nn.RMSNorm(4, dtype=mt.float64)(mt.tensor(x)).to_numpy(), expected, rtol=1e-10)


# --- modes -----------------------------------------------------------------------------------------------------------


async def test_dropout_drops_in_training_mode_only(door):
    mt.manual_seed(0)
    layer, x = nn.Dropout(0.25), mt.ones((100, 100))
    dropped = (await door(layer, x)).to_numpy()
    assert set(np.unique(dropped)) == {0, np.float32(1 / 0.75)}
    assert (dropped == 0).mean() == pytest.approx(0.25, abs=0.02)  # its standard deviation is 0.0043
    assert dropped.mean() == pytest.approx(1, abs=0.03)
    np.testing.assert_array_equal((await door(layer.eval(), x)).to_numpy(), x.to_numpy())


def test_dropout_is_the_same_after_the_same_seed_and_another_after_none():
    layer, x = nn.Dropout(), mt.ones((50,))
    mt.manual_seed(3)
    once, twice = layer(x).tolist(), layer(x).tolist()
    mt.manual_seed(3)
    assert layer(x).tolist() == once != twice


def test_training_mode_reaches_the_layers_of_a_tree():
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, dropout=0.5), 2)
    x = mt.tensor(numbers(5, 3, 8))
    assert encoder(x).tolist() != encoder(x).tolist()
    encoder.eval()
    assert encoder(x).tolist() == encoder(x).tolist()


# --- state -----------------------------------------------------------------------------------------------------------


class Twice(nn.Module):
    """Calls its layer, waits for a swap, and calls it again."""

    def __init__(self, layer, swap):
        super().__init__()
        self.layer = layer
        self.__dict__["swap"] = swap

    def forward(self, x):
        before = self.layer(x)
        self.swap()
        return before, self.layer(x)


async def test_new_weights_are_seen_by_the_next_call_and_by_no_running_one(door):
    layer, x = nn.Linear(4, 3), mt.tensor(numbers(2, 4))
    old, new = layer.state_dict(), nn.Linear(4, 3).state_dict()
    module = Twice(layer, lambda: layer.load_state_dict(new))
    before, during = await door(module, x)
    assert during.tolist() == before.tolist()
    assert layer(x).tolist() != before.tolist()
    layer.load_state_dict(old)
    assert layer(x).tolist() == before.tolist()


async def test_no_call_mixes_the_weights_of_two_loads(door):
    layer, x = nn.Linear(4, 3), mt.ones((4,))

    def state(number):
        return {"weight": np.full((3, 4), number, "float32"), "bias": np.full((3,), number, "float32")}

    layer.load_state_dict(state(0))
    ended = threading.Event()

    def swap():
        for number in itertools.cycle(range(300)):
            layer.load_state_dict(state(number))
            if ended.is_set():
                break

    swapping = threading.Thread(target=swap)
    swapping.start()
    try:
        outputs = [(await door(layer, x)).tolist() for _ in range(100)]
    finally:
        ended.set()
        swapping.join()
    assert all(out == [out[0]] * 3 and out[0] % 5 == 0 for out in outputs)


class Ask(nn.Module):
    """A step of text: its input, and how many words of the prompt are in it, as a vector."""

    def __init__(self):
        super().__init__()
        self.words = nn.Parameter("refund invoice card", "keywords")

    def forward(self, text):
        return mt.tensor([float(word in text) for word in self.words.split()])


async def test_text_and_layers_in_a_row_share_one_state_dict(door, tmp_path):
    router = nn.Sequential(Ask(), nn.Linear(3, 2), nn.Softmax(dim=-1))
    assert list(router.state_dict()) == ["0.words", "1.weight", "1.bias"]
    mf.save(router.state_dict(), tmp_path / "router")
    twin = nn.Sequential(Ask(), nn.Linear(3, 2), nn.Softmax(dim=-1))
    twin.load_state_dict(mf.load(tmp_path / "router"))
    expected = await door(router, "my card and an invoice")
    assert (await door(twin, "my card and an invoice")).tolist() == expected.tolist()
    assert twin.digest() == router.digest()


def test_a_copy_of_a_layer_has_weights_of_its_own():
    layer = nn.Linear(4, 3)
    twin = deepcopy(layer)
    twin.weight = twin.weight * 2
    np.testing.assert_array_equal(twin.weight.to_numpy(), layer.weight.to_numpy() * 2)


def test_the_layers_of_an_encoder_begin_alike_and_are_trained_apart():
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16), 2)
    state = encoder.state_dict()
    for key in nn.TransformerEncoderLayer(8, 2, 16).state_dict():
        np.testing.assert_array_equal(state[f"layers.0.{key}"].to_numpy(), state[f"layers.1.{key}"].to_numpy())
    assert len(list(encoder.parameters())) == 24


@pytest.mark.parametrize("name", WITH_STATE)
def test_weights_of_another_shape_are_refused_before_any_change(name):
    layer = LAYERS[name][0]()
    before, state = layer.digest(), layer.state_dict()
    key = next(key for key in state if key.endswith(("weight", "lora_A")))
    with pytest.raises(StateDictError, match=key):
        layer.load_state_dict({**state, key: np.zeros((9, 9), "float32")})
    assert layer.digest() == before
