"""Every layer beside PyTorch's: made by one line, it loads the other's state, and outputs and gradients are equal."""

import functools

import numpy as np
import pytest

import msgflow as mf
import msgflow.nn as nn
import msgflow.tensor as mt

torch = pytest.importorskip("torch", reason="the oracle of these numbers: pip install 'msgflow[oracle]'")
torch.set_num_threads(1)
# About an even kernel, for which torch copies.
pytestmark = pytest.mark.filterwarnings("ignore:Using padding=.same.")

# Sums of some hundred products, in float32 in another order; float64 shows that it is the order alone.
TOLERANCE = {"float32": 1e-5, "float64": 1e-10}


class TorchNN:
    """torch.nn, with our one name that is another, and without the tensors that torch would warn that it cannot use."""

    MultiHeadAttention = torch.nn.MultiheadAttention
    TransformerEncoder = functools.partial(torch.nn.TransformerEncoder, enable_nested_tensor=False)

    def __getattr__(self, name):
        return getattr(torch.nn, name)


def numbers(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape)


def ids(*shape):
    return np.random.default_rng(0).integers(0, 7, shape)


# By name: a line that makes the layer of either library, and what it is called with.
CASES = {
    "linear": (lambda nn: nn.Linear(4, 3), [numbers(2, 5, 4)]),
    "linear of a vector": (lambda nn: nn.Linear(4, 3), [numbers(4)]),
    "linear without bias": (lambda nn: nn.Linear(4, 3, bias=False), [numbers(5, 4)]),
    "embedding": (lambda nn: nn.Embedding(7, 4), [ids(3, 5)]),
    "embedding with padding": (lambda nn: nn.Embedding(7, 4, padding_idx=-7), [ids(3, 5)]),
    "layer norm": (lambda nn: nn.LayerNorm(4), [numbers(3, 4)]),
    "layer norm of two axes": (lambda nn: nn.LayerNorm((3, 4), eps=1e-3), [numbers(2, 3, 4)]),
    "layer norm without bias": (lambda nn: nn.LayerNorm([4], bias=False), [numbers(3, 4)]),
    "layer norm without weight": (lambda nn: nn.LayerNorm(4, elementwise_affine=False), [numbers(3, 4)]),
    "rms norm": (lambda nn: nn.RMSNorm(4), [numbers(3, 4) * 1e-3]),
    "rms norm of two axes": (lambda nn: nn.RMSNorm((3, 4), eps=1e-2), [numbers(2, 3, 4)]),
    "rms norm without weight": (lambda nn: nn.RMSNorm(4, elementwise_affine=False), [numbers(3, 4)]),
    "dropout of nothing": (lambda nn: nn.Dropout(0.0), [numbers(3, 4)]),
    "attention to itself": (lambda nn: nn.MultiHeadAttention(8, 2), [numbers(5, 3, 8)] * 3),
    "attention without bias": (lambda nn: nn.MultiHeadAttention(8, 4, bias=False), [numbers(5, 3, 8)] * 3),
    "attention to others": (
        lambda nn: nn.MultiHeadAttention(8, 2, batch_first=True),
        [numbers(3, 5, 8), numbers(3, 6, 8), numbers(3, 6, 8) + 1],
    ),
    "attention to other sizes": (
        lambda nn: nn.MultiHeadAttention(8, 2, kdim=3, vdim=4, batch_first=True),
        [numbers(2, 5, 8), numbers(2, 6, 3), numbers(2, 6, 4)],
    ),
    "attention without a batch": (lambda nn: nn.MultiHeadAttention(8, 2), [numbers(5, 8), *[numbers(4, 8)] * 2]),
    "encoder layer": (lambda nn: nn.TransformerEncoderLayer(8, 2, 16, 0.0), [numbers(5, 3, 8)]),
    "encoder layer, norm first": (
        lambda nn: nn.TransformerEncoderLayer(8, 4, 16, 0.0, "gelu", 1e-3, True, norm_first=True, bias=False),
        [numbers(3, 5, 8)],
    ),
    "encoder": (
        lambda nn: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, 0.0), 2, nn.LayerNorm(8)),
        [numbers(5, 3, 8)],
    ),
    "convolution": (lambda nn: nn.Conv1d(4, 6, 3), [numbers(2, 4, 9)]),
    "convolution with everything": (
        lambda nn: nn.Conv1d(4, 6, (3,), stride=2, padding=2, dilation=2, groups=2, bias=False),
        [numbers(2, 4, 9)],
    ),
    "convolution to the same length": (lambda nn: nn.Conv1d(4, 6, 4, padding="same"), [numbers(2, 4, 9)]),
    "convolution without a batch": (lambda nn: nn.Conv1d(4, 6, 3, padding="valid"), [numbers(4, 9)]),
    "functions": (
        lambda nn: nn.Sequential(
            *(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.GELU(), nn.Linear(4, 4), nn.SiLU(), nn.Linear(4, 4)),
            *(nn.Tanh(), nn.Linear(4, 4), nn.GELU(approximate="tanh"), nn.Identity(7), nn.Linear(4, 4)),
            *(nn.Sigmoid(), nn.Linear(4, 4), nn.Softmax(dim=1), nn.Flatten(), nn.LogSoftmax(dim=-1)),
        ),
        [numbers(2, 3, 4)],
    ),
}


def both(name, dtype):
    make, inputs = CASES[name]
    torch.manual_seed(0)
    theirs, ours = make(TorchNN()).to(getattr(torch, dtype)), make(nn).to(getattr(mt, dtype))
    with torch.no_grad():
        for parameter in theirs.parameters():  # biases of 0 and weights of 1 would hide a mistake
            parameter.add_(torch.randn(parameter.shape, dtype=parameter.dtype) / 4)
    return theirs, ours, inputs


def called(module, inputs, tensor):
    """The outputs, and the tensors that went in; the same one where the same array is given."""
    given = {id(array): tensor(array) for array in inputs}
    outputs = module(*(given[id(array)] for array in inputs))
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    return [output for output in outputs if output is not None], list(given.values())


def of_torch(dtype):
    def make(array):
        floating = array.dtype.kind == "f"
        made = torch.tensor(array, dtype=getattr(torch, dtype) if floating else None)
        return made.requires_grad_() if floating else made

    return make


def of_ours(dtype):
    def make(array):
        floating = array.dtype.kind == "f"
        return mt.tensor(array, dtype=dtype if floating else None, requires_grad=floating)

    return make


def close(ours, theirs, dtype):
    theirs = theirs.detach().numpy()
    assert ours.shape == theirs.shape and ours.dtype.name == dtype
    np.testing.assert_allclose(ours.to_numpy(), theirs, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_with_the_state_of_torch_outputs_and_gradients_are_equal(name, dtype):
    theirs, ours, inputs = both(name, dtype)
    ours.load_state_dict(mt.convert_state_dict(theirs.state_dict(), "numpy"))
    expected, leaves_of_theirs = called(theirs, inputs, of_torch(dtype))
    outputs, leaves = called(ours, inputs, of_ours(dtype))
    assert len(outputs) == len(expected)
    weigh = [numbers(*output.shape) for output in outputs]
    sum(
        (output * torch.tensor(w, dtype=output.dtype)).sum() for output, w in zip(expected, weigh, strict=True)
    ).backward()
    sum((output * mt.tensor(w, dtype=dtype)).sum() for output, w in zip(outputs, weigh, strict=True)).backward()
    pairs = [*zip(outputs, expected, strict=True)]
    pairs += [(p.grad, q.grad) for p, q in zip(ours.parameters(), theirs.parameters(), strict=True)]
    pairs += [(x.grad, y.grad) for x, y in zip(leaves, leaves_of_theirs, strict=True) if y.requires_grad]
    for mine, other in pairs:
        close(mine, other, dtype)


@pytest.mark.parametrize("name", CASES)
def test_torch_loads_our_state_strictly_and_gives_the_same_outputs(name):
    theirs, ours, inputs = both(name, "float64")
    theirs.load_state_dict(mt.convert_state_dict(ours.state_dict(), "torch"), strict=True)
    assert [(key, tuple(value.shape)) for key, value in theirs.state_dict().items()] == [
        (key, value.shape) for key, value in ours.state_dict().items()
    ]
    expected, _ = called(theirs, inputs, of_torch("float64"))
    outputs, _ = called(ours, inputs, of_ours("float64"))
    for mine, other in zip(outputs, expected, strict=True):
        close(mine, other, "float64")


def test_a_safetensors_file_of_either_library_loads_in_the_other(tmp_path):
    from safetensors import torch as files

    theirs, ours, _ = both("encoder", "float32")
    files.save_file(theirs.state_dict(), tmp_path / "theirs.safetensors")
    ours.load_state_dict(mf.load(tmp_path / "theirs.safetensors"))
    for key, value in ours.state_dict().items():
        np.testing.assert_array_equal(value.to_numpy(), theirs.state_dict()[key].numpy())

    mf.save(ours.to(mt.float64).state_dict(), tmp_path / "ours.safetensors")
    theirs.to(torch.float64).load_state_dict(files.load_file(tmp_path / "ours.safetensors"), strict=True)
    for key, value in theirs.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), ours.state_dict()[key].to_numpy())


@pytest.mark.parametrize("name", CASES)
def test_each_is_shown_as_in_torch(name):
    theirs, ours, _ = both(name, "float32")
    # Ours say more of attention, have nothing in place, and fold runs of equal children as torch does.
    expected = repr(theirs).replace(", inplace=False", "").replace("NonDynamicallyQuantizableLinear", "Linear")
    shown = "\n".join(line for line in repr(ours).split("\n") if "embed_dim=" not in line)
    assert shown.replace("MultiHeadAttention", "MultiheadAttention") == expected


@pytest.mark.parametrize("name", ["linear", "layer norm", "embedding", "convolution"])
def test_first_weights_are_spread_as_in_torch(name):
    """The distributions are compared by their quantiles, of some thousand numbers."""
    big = {
        "linear": lambda nn: nn.Linear(100, 400),
        "layer norm": lambda nn: nn.LayerNorm(400),
        "embedding": lambda nn: nn.Embedding(100, 400),
        "convolution": lambda nn: nn.Conv1d(100, 100, 4),
    }[name]
    mt.manual_seed(0)
    torch.manual_seed(0)
    ours, theirs = big(nn).state_dict(), big(torch.nn).state_dict()
    grid = np.linspace(0.1, 0.9, 5)
    for key, value in theirs.items():
        theirs_spread, ours_spread = (np.quantile(numbers, grid) for numbers in (value.numpy(), ours[key].to_numpy()))
        # Four standard deviations of a quantile of a uniform distribution, and a few for the others.
        tolerance = 4 * float(abs(value).max()) / np.sqrt(value.numel()) if value.std() > 0 else 0
        np.testing.assert_allclose(ours_spread, theirs_spread, atol=tolerance)


def test_the_first_weights_of_attention_are_spread_as_in_torch():
    mt.manual_seed(0)
    torch.manual_seed(0)
    ours, theirs = nn.MultiHeadAttention(64, 4).state_dict(), torch.nn.MultiheadAttention(64, 4).state_dict()
    for key, value in theirs.items():
        assert ours[key].to_numpy().std() == pytest.approx(float(value.std()), rel=0.05, abs=1e-9)
        assert abs(ours[key].to_numpy()).max() == pytest.approx(float(value.abs().max()), rel=0.05)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", [name for name in CASES if name not in ("functions", "encoder", "rms norm")])
def test_16_bit_floats_are_as_near_to_float64_as_torchs(name, dtype):
    theirs, ours, inputs = both(name, "float64")
    exact, _ = called(theirs, inputs, of_torch("float64"))
    ours.load_state_dict(mt.convert_state_dict(theirs.state_dict(), "msgflow"))
    ours.to(dtype=dtype)
    with mt.no_grad():
        outputs, _ = called(ours, inputs, of_ours(dtype))
    step = {"float16": 2**-11, "bfloat16": 2**-8}[dtype]
    for mine, other in zip(outputs, exact, strict=True):
        assert mine.dtype.name == dtype
        np.testing.assert_allclose(mine.to_numpy().astype(float), other.detach().numpy(), rtol=8 * step, atol=8 * step)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_the_eps_of_an_rms_norm_that_has_none_is_that_of_torch(dtype):
    x = np.full((2, 4), 1e-3)  # whose square is about as large as the eps of float32
    expected = torch.nn.RMSNorm(4, dtype=getattr(torch, dtype))(torch.tensor(x, dtype=getattr(torch, dtype)))
    out = nn.RMSNorm(4, dtype=dtype)(mt.tensor(x, dtype=dtype))
    np.testing.assert_allclose(out.to_numpy(), expected.detach().double().numpy(), rtol=1e-6)
