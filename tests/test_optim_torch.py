"""The same numbers as PyTorch, to 1e-6 over 100 steps."""

import numpy as np
import pytest

import msgflow.tensor as mt
from msgflow import optim
from msgflow.optim import lr_scheduler

torch = pytest.importorskip("torch", reason="the oracle of these numbers: pip install 'msgflow[oracle]'")
torch.set_num_threads(1)

SHAPES = [(4, 3), (3,), (), (2, 2)]
RULES = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.5, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, "nesterov": True}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.05, "betas": (0.5, 0.7), "eps": 1e-3, "weight_decay": 0.2}),
]


class Both:
    """The same parameters here and in PyTorch; the last never has a gradient, and the first two are a group."""

    def __init__(self, name, options, dtype):
        self.random = np.random.default_rng(0)
        self.dtype, self.name, self.options = dtype, name, options
        values = [np.asarray(self.random.standard_normal(shape), dtype) for shape in SHAPES]
        self.ours = [mt.tensor(value, dtype=dtype).requires_grad_() for value in values]
        self.theirs = [torch.tensor(value, requires_grad=True) for value in values]
        self.make_optimizers()

    def make_optimizers(self):
        self.our, self.their = (
            getattr(module, self.name)([{"params": a[:2], "lr": 0.02}, {"params": a[2:]}], **self.options)
            for module, a in ((optim, self.ours), (torch.optim, self.theirs))
        )

    def step(self, times):
        for _ in range(times):
            for ours, theirs in zip(self.ours[:-1], self.theirs, strict=False):
                # Gradients that shrink with the value, as in training, so that values stay near 1.
                grad = np.asarray(0.1 * ours.to_numpy() + 0.1 * self.random.standard_normal(ours.shape), self.dtype)
                ours.grad, theirs.grad = mt.tensor(grad, dtype=self.dtype), torch.tensor(grad)
            self.our.step()
            self.their.step()

    def agree(self):
        for ours, theirs in zip(self.ours, self.theirs, strict=True):
            np.testing.assert_allclose(ours.to_numpy(), theirs.detach().numpy(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("name", "options"), RULES)
def test_100_steps_are_pytorchs(name, options, dtype):
    both = Both(name, options, dtype)
    both.step(100)
    both.agree()


@pytest.mark.parametrize(("name", "options"), RULES)
def test_the_state_of_pytorch_is_gone_on_from(name, options):
    both = Both(name, options, "float64")
    both.step(30)
    state = both.their.state_dict()
    both.options = {**options, "lr": 3.0}
    both.make_optimizers()
    both.our.load_state_dict(state)
    both.their.load_state_dict(state)
    both.step(30)
    both.agree()


def test_16_bit_parameters_follow_pytorchs_float32_ones():
    """PyTorch's own 16-bit ones lose steps that are too small for them."""
    both = Both("AdamW", {"lr": 0.01}, "float32")
    half = [ours.to(dtype="bfloat16").detach().requires_grad_() for ours in both.ours[:3]]
    for theirs, ours in zip(both.theirs, half, strict=False):
        theirs.data = torch.tensor(ours.to_numpy())
    optimizer = optim.AdamW(half, lr=0.01)
    both.their.param_groups[0]["lr"] = 0.01
    for _ in range(100):
        for theirs, ours in zip(both.theirs, half, strict=False):
            ours.grad = mt.tensor(both.random.standard_normal(ours.shape)).to(dtype="bfloat16")
            theirs.grad = torch.tensor(ours.grad.to_numpy())
        optimizer.step()
        both.their.step()
    for theirs, ours in zip(both.theirs, half, strict=False):
        expected = theirs.detach().to(torch.bfloat16).float().numpy()
        np.testing.assert_allclose(ours.to_numpy(), expected, rtol=2**-7)  # one unit in the last place


SCHEDULES = [
    lambda module, optimizer: module.CosineAnnealingLR(optimizer, T_max=20, eta_min=0.001),
    lambda module, optimizer: module.LinearLR(optimizer, start_factor=0.1, end_factor=0.9, total_iters=7),
    lambda module, optimizer: module.LambdaLR(optimizer, lambda epoch: 0.9**epoch),
    lambda module, optimizer: module.LambdaLR(optimizer, [lambda epoch: 0.9**epoch, lambda epoch: 1 / (1 + epoch)]),
    lambda module, optimizer: module.SequentialLR(
        optimizer,
        [module.LinearLR(optimizer, 0.1, total_iters=5), module.CosineAnnealingLR(optimizer, T_max=10)],
        milestones=[5],
    ),
]


@pytest.mark.filterwarnings("ignore:.*lr_scheduler:UserWarning")  # PyTorch's, of its own step(epoch)
@pytest.mark.parametrize("made", SCHEDULES, ids=["cosine", "linear", "lambda", "lambdas", "sequential"])
def test_100_steps_with_a_schedule_are_pytorchs(made):
    both = Both("AdamW", {"lr": 0.05}, "float64")
    our, their = made(lr_scheduler, both.our), made(torch.optim.lr_scheduler, both.their)
    for _ in range(100):
        np.testing.assert_allclose(our.get_last_lr(), their.get_last_lr(), rtol=1e-6, atol=1e-12)
        both.step(1)
        our.step()
        their.step()
    both.agree()


@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.5, float("inf")])
@pytest.mark.parametrize("max_norm", [0.0, 0.5, 1e6])
def test_clipped_gradients_are_pytorchs(max_norm, norm_type):
    both = Both("SGD", {"lr": 0.1}, "float32")
    both.step(1)
    ours = optim.clip_grad_norm_(both.ours, max_norm, norm_type)
    theirs = torch.nn.utils.clip_grad_norm_(both.theirs, max_norm, norm_type)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6) and ours.dtype is mt.tensor(1.0).dtype
    for mine, his in zip(both.ours[:3], both.theirs, strict=False):
        np.testing.assert_allclose(mine.grad.to_numpy(), his.grad.numpy(), rtol=1e-6)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # infinity times 0
@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_clipping_hides_as_little_as_pytorch(wrong):
    both = Both("SGD", {"lr": 0.1}, "float32")
    both.step(1)
    grad = np.array([1.0, wrong, 2.0], "float32")
    both.ours[1].grad, both.theirs[1].grad = mt.tensor(grad), torch.tensor(grad)
    ours, theirs = optim.clip_grad_norm_(both.ours, 1.0), torch.nn.utils.clip_grad_norm_(both.theirs, 1.0)
    np.testing.assert_array_equal(ours.to_numpy(), theirs.numpy())
    for mine, his in zip(both.ours[:3], both.theirs, strict=False):
        np.testing.assert_array_equal(mine.grad.to_numpy(), his.grad.numpy())


def test_clipped_values_are_pytorchs():
    both = Both("SGD", {"lr": 0.1}, "float32")
    both.step(1)
    optim.clip_grad_value_(both.ours, 0.05)
    torch.nn.utils.clip_grad_value_(both.theirs, 0.05)
    for mine, his in zip(both.ours[:3], both.theirs, strict=False):
        np.testing.assert_array_equal(mine.grad.to_numpy(), his.grad.numpy())
