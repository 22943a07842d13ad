"""LoRA: a frozen Linear whose change is learned, merged and taken out again."""

import threading
from copy import deepcopy

import numpy as np
import pytest

import msgflow as mf
import msgflow.nn as nn
import msgflow.tensor as mt

X = mt.tensor(np.random.default_rng(0).standard_normal((5, 4)))


@pytest.fixture
def linear():
    mt.manual_seed(0)
    return nn.Linear(4, 3, dtype=mt.float64)


def learned(linear, **options):
    lora = nn.LoRA(linear, rank=2, **options)
    lora.lora_B = mt.normal((3, 2), dtype=mt.float64)
    return lora


async def test_nothing_changes_until_something_is_learned(linear, door):
    before = linear(X).tolist()
    assert (await door(nn.LoRA(linear), X)).tolist() == before


async def test_it_adds_the_scaled_product_of_two_narrow_matrices(linear, door):
    lora = learned(linear, alpha=6)
    narrow, wide = lora.lora_A.to_numpy(), lora.lora_B.to_numpy()
    expected = linear(X).to_numpy() + 6 / 2 * X.to_numpy() @ narrow.T @ wide.T
    np.testing.assert_allclose((await door(lora, X)).to_numpy(), expected, rtol=1e-12)


def test_only_the_narrow_matrices_are_trained(linear):
    lora = learned(linear)
    (lora(X) * lora(X)).sum().backward()
    assert [name for name, parameter in lora.named_parameters() if parameter.requires_grad] == ["lora_A", "lora_B"]
    assert {name for name, parameter in lora.named_parameters() if parameter.grad is not None} == {"lora_A", "lora_B"}


async def test_merged_it_gives_the_same_and_unmerged_again(linear, door):
    lora = learned(linear)
    weight, expected = linear.weight.to_numpy(), lora(X).to_numpy()
    assert lora.merge() is lora and lora.merged
    np.testing.assert_allclose((await door(lora, X)).to_numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose((await door(linear, X)).to_numpy(), expected, rtol=1e-12)
    assert lora.unmerge() is lora and not lora.merged
    np.testing.assert_allclose(linear.weight.to_numpy(), weight, rtol=1e-12)
    np.testing.assert_allclose((await door(lora, X)).to_numpy(), expected, rtol=1e-12)


def test_merging_twice_is_merging_once(linear):
    lora = learned(linear)
    assert lora.merge().digest() == lora.merge().digest()
    assert lora.unmerge().digest() == lora.unmerge().digest()


def test_threads_that_merge_at_once_merge_once(linear):
    lora = learned(linear)
    expected = deepcopy(lora).merge().digest()
    threads = [threading.Thread(target=lora.merge) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lora.digest() == expected


class Merging(nn.Module):
    """Merges its LoRA between two calls of it."""

    def __init__(self, lora):
        super().__init__()
        self.lora = lora

    def forward(self, x):
        before = self.lora(x)
        self.lora.merge()
        return before, self.lora(x)


async def test_a_running_call_sees_nothing_of_a_merge(linear, door):
    lora = learned(linear)
    before, during = await door(Merging(lora), X)
    assert before.tolist() == during.tolist() and lora.merged


def test_a_merged_state_is_loaded_as_merged(linear, tmp_path):
    lora = learned(linear)
    expected = lora.merge()(X).tolist()
    mf.save(lora.state_dict(), tmp_path / "lora.safetensors")
    fresh = nn.LoRA(nn.Linear(4, 3, dtype=mt.float64), rank=2)
    fresh.load_state_dict(mf.load(tmp_path / "lora.safetensors"))
    assert fresh.merged and fresh(X).tolist() == expected
    assert repr(fresh).startswith("LoRA(\n  rank=2, alpha=16, merged\n  (linear): Linear(")


def test_dropout_is_before_the_narrow_matrices_only(linear):
    lora = learned(linear, dropout=1.0)
    np.testing.assert_allclose(lora(X).to_numpy(), linear(X).to_numpy())
    assert np.abs(lora.eval()(X).to_numpy() - linear(X).to_numpy()).max() > 1e-3


def test_it_has_the_type_of_its_linear_and_goes_along_to_others(linear):
    lora = learned(linear)
    assert {parameter.data.dtype for parameter in lora.parameters()} == {mt.float64}
    exact = lora(X).to_numpy()
    lora.to(mt.float32)
    np.testing.assert_allclose(lora(X.to(mt.float32)).to_numpy(), exact, rtol=1e-4, atol=1e-5)


def test_it_learns_a_change_of_its_rank_while_the_weight_stays(linear):
    mt.manual_seed(1)
    weight = linear.weight.tolist()
    wanted = linear(X) + X @ mt.normal((4, 1), dtype=mt.float64) @ mt.normal((1, 3), dtype=mt.float64)
    lora = nn.LoRA(linear, rank=1, alpha=1)
    for _ in range(400):
        lora.zero_grad()
        error = lora(X) - wanted.detach()
        loss = (error * error).mean()
        loss.backward()
        for parameter in (lora.get_parameter("lora_A"), lora.get_parameter("lora_B")):
            parameter.data = parameter.data - parameter.grad * 0.1
    assert loss.item() < 1e-3
    assert linear.weight.tolist() == weight
