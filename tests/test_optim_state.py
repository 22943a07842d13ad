"""An optimiser's state: saved, loaded, gone on from, and refused where it does not fit."""

import math

import numpy as np
import pytest

import msgflow as mf
import msgflow.nn as nn
import msgflow.tensor as mt
from msgflow import optim
from msgflow.errors import StateDictError
from msgflow.optim import lr_scheduler

KINDS = [(optim.SGD, {"lr": 0.1, "momentum": 0.9}), (optim.SGD, {"lr": 0.1}), (optim.AdamW, {"lr": 0.1})]


def parameters(dtype="float64"):
    return [nn.Parameter(mt.tensor(value).to(dtype=dtype)) for value in ([1.0, 2.0], 3.0)]


def train(optimizer, times, start=0):
    for step in range(start, start + times):
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = parameter.data * 0.3 + math.sin(step)
        optimizer.step()


@pytest.mark.parametrize("name", ["optimizer.safetensors", "folder"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_a_saved_optimiser_goes_on_as_if_it_had_not_stopped(kind, options, dtype, name, tmp_path):
    first, second = parameters(dtype), parameters(dtype)
    uninterrupted, before = kind(first, **options), kind(second, **options)
    train(uninterrupted, 10)
    train(before, 5)
    mf.save(before.state_dict(), tmp_path / name)
    after = kind(second, lr=7.0)
    after.load_state_dict(mf.load(tmp_path / name))
    train(after, 5, start=5)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.data.to_numpy(), other.data.to_numpy())


def test_the_state_is_flat_and_of_json_values_and_tensors():
    first, _ = parameters("float32")
    optimizer = optim.AdamW([("w", first)], lr=0.5)
    train(optimizer, 1)
    state = optimizer.state_dict()
    assert {key: value for key, value in state.items() if not isinstance(value, mt.Tensor)} == {
        "param_groups.0.params": [0],
        "param_groups.0.param_names": ["w"],
        "param_groups.0.lr": 0.5,
        "param_groups.0.betas": [0.9, 0.999],
        "param_groups.0.eps": 1e-08,
        "param_groups.0.weight_decay": 0.01,
        "state.0.step": 1,
    }
    assert [key for key, value in state.items() if isinstance(value, mt.Tensor)] == [
        "state.0.exp_avg",
        "state.0.exp_avg_sq",
    ]


def test_a_state_does_not_change_with_later_steps_and_changes_nothing_itself():
    optimizer = optim.AdamW(parameters(), lr=0.5)
    train(optimizer, 1)
    state = optimizer.state_dict()
    before = state["state.0.exp_avg"].tolist()
    optimizer.load_state_dict(state)
    train(optimizer, 3)
    assert state["state.0.exp_avg"].tolist() == before


def test_parameters_that_were_never_stepped_have_no_state():
    optimizer = optim.AdamW(parameters())
    assert not [key for key in optimizer.state_dict() if key.startswith("state.")]
    optimizer.load_state_dict(optimizer.state_dict())


def test_the_float32_copy_of_a_parameter_that_was_given_another_value_is_not_gone_on_from():
    parameter = nn.Parameter(mt.tensor([1.0]).to(dtype="bfloat16"))
    optimizer = optim.SGD([parameter], lr=0.5)
    train(optimizer, 1)
    state = optimizer.state_dict()
    parameter.data = mt.tensor([8.0]).to(dtype="bfloat16")
    optimizer.load_state_dict(state)
    parameter.grad = mt.tensor([1.0]).to(dtype="bfloat16")
    optimizer.step()
    assert parameter.data.item() == 7.5


def test_names_of_groups_and_the_first_rates_of_schedules_are_kept():
    def made():
        optimizer = optim.SGD([{"params": parameters(), "name": "all"}], lr=0.5)
        return optimizer, lr_scheduler.CosineAnnealingLR(optimizer, T_max=10)

    optimizer, schedule = made()
    for _ in range(4):
        schedule.step()
    again, other = made()
    again.param_groups[0].update(name="none", initial_lr=0.1)
    again.load_state_dict(optimizer.state_dict())
    other.load_state_dict(schedule.state_dict())
    assert again.param_groups[0]["name"] == "all" and again.param_groups[0]["initial_lr"] == 0.5
    schedule.step()
    other.step()
    assert other.get_last_lr() == schedule.get_last_lr()


def test_the_nested_layout_of_pytorch_loads():
    parameter = mt.tensor([1.0, 2.0], requires_grad=True)
    optimizer = optim.AdamW([parameter])
    optimizer.load_state_dict(
        {
            "state": {0: {"step": np.array(3.0), "exp_avg": np.ones(2), "exp_avg_sq": np.full(2, 4.0)}},
            "param_groups": [
                {"params": [0], "lr": 0.5, "betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0.0, "foreach": None}
                | {"amsgrad": False, "maximize": False, "fused": None, "decoupled_weight_decay": True}
            ],
        }
    )
    state = optimizer.state_dict()
    assert state["state.0.step"] == 3 and state["state.0.exp_avg_sq"].tolist() == [4, 4]
    assert state["state.0.exp_avg"].dtype is mt.float32 and state["param_groups.0.betas"] == [0.9, 0.99]


# --- refused ---------------------------------------------------------------------------------------------------------


def saved():
    optimizer = optim.AdamW([{"params": parameters()[:1]}, {"params": [("w", parameters()[1])]}], lr=0.5)
    train(optimizer, 2)
    return optimizer, optimizer.state_dict()


WRONG = [
    ("param_groups.0.lr", -1, "param_groups.0: lr is -1; it has to be at least 0"),
    ("param_groups.0.lr", "fast", "param_groups.0: lr is a number, not 'fast'"),
    ("param_groups.0.initial_lr", math.nan, "param_groups.0: initial_lr is nan"),
    ("param_groups.0.params", [0, 1], "param_groups.0.params: expected 1 parameters, got 2"),
    ("param_groups.0.params", "all", "param_groups.0.params: expected a list of numbers, got 'all'"),
    ("param_groups.1.param_names", ["v"], "param_groups.1.param_names: expected w; without this key"),
    ("param_groups.0.amsgrad", True, "param_groups.0.amsgrad: unexpected"),
    ("param_groups.2.lr", 0.1, "param_groups: expected 2, got 3"),
    ("state.0.exp_avg", mt.tensor([1.0]), r"state.0.exp_avg: expected a tensor of shape \(2,\), got \(1,\)"),
    ("state.0.exp_avg", "much", "state.0.exp_avg: "),
    ("state.0.step", -2, "state.0.step: step is -2"),
    ("state.0.step", [], "state.0.step: "),
    ("state.0.momentum_buffer", mt.tensor([1.0, 2.0]), "state.0.momentum_buffer: unexpected"),
    ("state.0.master", mt.tensor([1.0, 2.0]), "state.0.master: unexpected"),
    ("state.5.step", 1, "state.5: unexpected"),
    ("state.x.step", 1, "state.x.step: unexpected"),
    ("weights", 1, "weights: unexpected"),
    (5, 1, "5: unexpected"),
]


@pytest.mark.parametrize(("key", "value", "message"), WRONG)
def test_a_state_that_does_not_fit_is_refused_by_key_and_changes_nothing(key, value, message):
    optimizer, state = saved()
    with pytest.raises(StateDictError, match=message):
        optimizer.load_state_dict({**state, "param_groups.1.lr": 0.25, key: value})
    assert optimizer.param_groups[1]["lr"] == 0.5 and optimizer.state_dict().keys() == state.keys()


@pytest.mark.parametrize("key", ["state.0.step", "state.1.exp_avg", "param_groups.1.betas"])
def test_what_is_missing_is_named(key):
    optimizer, state = saved()
    del state[key]
    with pytest.raises(StateDictError, match=f"{key}: missing"):
        optimizer.load_state_dict(state)


def test_every_problem_is_in_one_error():
    optimizer, state = saved()
    del state["state.0.step"]
    with pytest.raises(StateDictError) as error:
        optimizer.load_state_dict({**state, "extra": 1, "param_groups.0.eps": -1})
    assert (error.value.missing, error.value.unexpected) == (["state.0.step"], ["extra"])
    assert "eps is -1" in str(error.value) and "an optimiser of the same class" in str(error.value)


@pytest.mark.parametrize("nested", [{"param_groups": 5, "state": {}}, {"param_groups": []}, {"param_groups": [[]]}])
def test_what_only_looks_like_pytorchs_is_refused(nested):
    with pytest.raises(StateDictError, match="expected a list of dicts beside a dict `state`"):
        saved()[0].load_state_dict(nested)


def test_what_is_no_mapping_is_refused():
    with pytest.raises(TypeError, match="the state of an optimiser is a mapping, not list"):
        saved()[0].load_state_dict([])


def test_without_names_parameters_are_told_by_their_order():
    optimizer, state = saved()
    state["param_groups.1.param_names"] = ["v"]
    del state["param_groups.1.param_names"]
    optimizer.load_state_dict(state)
    assert optimizer.param_groups[1]["param_names"] == ["w"]


@pytest.mark.parametrize("epoch", [-1, 1.5, True, None])
def test_the_state_of_a_schedule_is_checked(epoch):
    schedule = lr_scheduler.LinearLR(saved()[0])
    with pytest.raises(StateDictError, match="last_epoch: expected a whole number from 0"):
        schedule.load_state_dict({"last_epoch": epoch})
    assert schedule.last_epoch == 0
