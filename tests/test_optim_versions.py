"""Training beside calls that run: a step is one version, and no call sees half of one."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import msgflow.nn as nn
import msgflow.tensor as mt
from msgflow import _version_clock, optim
from msgflow.errors import StaleState


class Two(nn.Module):
    """Two weights of one value, read one after the other."""

    def __init__(self, between=lambda: None):
        super().__init__()
        self.prompt = nn.Parameter("Be kind", "system_prompt")
        self.first = nn.Parameter(mt.tensor([1.0]))
        self.second = nn.Parameter(mt.tensor([1.0]))
        self.between = between

    def forward(self):
        before = self.first.item()
        self.between()
        return before, self.second.item()


def take_gradients(module):
    for parameter in (module.get_parameter("first"), module.get_parameter("second")):
        parameter.grad = mt.tensor([1.0])


def test_a_call_that_runs_sees_old_weights_or_new_ones_and_never_both():
    reading, stepped = threading.Event(), threading.Event()

    def between():
        reading.set()
        stepped.wait(10)

    module, seen = Two(between), []
    optimizer = optim.SGD(module, lr=0.5)
    take_gradients(module)
    call = threading.Thread(target=lambda: seen.append(module()))
    call.start()
    reading.wait(10)
    optimizer.step()
    stepped.set()
    call.join()
    assert seen == [(1.0, 1.0)] and module() == (0.5, 0.5)


def test_a_step_is_one_version():
    module = Two()
    optimizer = optim.AdamW(module.parameters())
    take_gradients(module)
    version, _ = _version_clock.reading()
    optimizer.step()
    assert _version_clock.reading()[0] == version + 1


def test_prompts_in_the_tree_are_left_alone():
    module = Two()
    module.get_parameter("prompt").grad = "Say more"
    optimizer = optim.AdamW(module.named_parameters())
    take_gradients(module)
    optimizer.step()
    assert optimizer.param_groups[0]["param_names"] == ["first", "second"]
    assert module.prompt == "Be kind" and module.get_parameter("prompt").grad == "Say more"


@pytest.mark.parametrize("params", [lambda prompts: prompts, lambda prompts: [{"params": prompts.parameters()}]])
def test_a_tree_of_prompts_alone_is_refused(params):
    prompts = nn.Module()
    prompts.prompt = nn.Parameter("Be kind")
    with pytest.raises(ValueError, match="AdamW was given no parameter that holds a tensor"):
        optim.AdamW(params(prompts))


def test_a_parameter_that_two_modules_share_is_stepped_once():
    module, other = Two(), Two()
    other.register_parameter("first", module.get_parameter("first"))
    optimizer = optim.SGD(nn.ModuleList([module, other]), lr=0.5)
    take_gradients(module)
    optimizer.step()
    assert module.first.item() == other.first.item() == 0.5 and other.second.item() == 1


def test_a_tensor_that_was_read_from_a_module_is_trained_there():
    module = Two()
    optimizer = optim.SGD([module.first], lr=0.5)
    take_gradients(module)
    optimizer.step()
    assert module.first.item() == 0.5


def test_a_tensor_attribute_is_trained_while_it_requires_a_gradient():
    module = nn.Module()
    module.weight = mt.tensor([1.0]).requires_grad_()
    optimizer = optim.SGD(module.parameters(), lr=0.5)
    (module.weight * 2).sum().backward()
    optimizer.step()
    assert module.weight.item() == 0 and module.weight.requires_grad
    optimizer.zero_grad()
    assert module.weight.grad is None


def test_weights_that_are_loaded_between_steps_are_gone_on_from():
    module = Two()
    optimizer = optim.SGD(module, lr=0.5)
    take_gradients(module)
    optimizer.step()
    module.load_state_dict({"prompt": "Be brief", "first": mt.tensor([8.0]), "second": mt.tensor([9.0])})
    optimizer.step()
    assert module() == (7.5, 8.5)


def test_weights_converted_between_steps_are_gone_on_from():
    module = Two()
    optimizer = optim.AdamW(module, lr=0.5, weight_decay=0.0)
    take_gradients(module)
    optimizer.step()
    module.to(dtype="float64")
    optimizer.step()
    assert module.first.dtype.name == "float64" and module.first.item() == pytest.approx(0.0, abs=1e-6)


def test_gradients_that_threads_take_meanwhile_are_each_of_one_version():
    module, done = Two(), threading.Event()
    optimizer = optim.SGD(module, lr=1e-4)

    def gradients():
        while not done.is_set():
            found = mt.grad(lambda module: (module.first * module.second).sum())(module)
            yield found["first"].item() == found["second"].item()

    with ThreadPoolExecutor(2) as pool:
        seen = [pool.submit(lambda: all(gradients())) for _ in range(2)]
        for _ in range(100):
            take_gradients(module)
            optimizer.step()
        done.set()
    assert all(each.result() for each in seen)


# --- inside calls ----------------------------------------------------------------------------------------------------


class Trainer(nn.Module):
    """Trains its module inside a call."""

    def __init__(self, in_transaction):
        super().__init__()
        self.two, self.in_transaction = Two(), in_transaction

    def forward(self):
        optimizer = optim.SGD(self.two, lr=0.25)
        if not self.in_transaction:
            return self.train_twice(optimizer)
        with self.transaction():
            return self.train_twice(optimizer)

    def train_twice(self, optimizer):
        for _ in range(2):
            (self.two.first + self.two.second).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
        return self.two()


async def test_a_step_inside_a_call_is_refused_with_the_remedy(door):
    trainer = Trainer(in_transaction=False)
    with pytest.raises(StaleState, match=r"SGD.step\(\) inside a call: .* `with module.transaction\(\):`"):
        await door(trainer)
    assert trainer.two() == (1.0, 1.0)


async def test_a_call_trains_in_a_transaction_which_publishes_at_its_end(door):
    trainer = Trainer(in_transaction=True)
    assert await door(trainer) == (0.5, 0.5)
    assert trainer.two() == (0.5, 0.5)


def test_a_transaction_that_fails_publishes_no_step():
    module = Two()
    optimizer = optim.SGD(module, lr=0.5)
    take_gradients(module)

    def step_and_fail():
        with module.transaction():
            optimizer.step()
            assert module.first.item() == 0.5
            raise KeyError

    with pytest.raises(KeyError):
        step_and_fail()
    assert module() == (1.0, 1.0)


async def test_free_tensors_have_no_versions_and_are_trained_anywhere(door):
    weight = mt.tensor([1.0]).requires_grad_()

    def train():
        (weight * 2).sum().backward()
        optim.SGD([weight], lr=0.25).step()
        return weight.item()

    assert await door(nn.Function(train)) == 0.5


def test_update_trains_in_its_tasks():
    class Learner(Two):
        def _get_train_tasks(self):
            return self.fit

        def fit(self):
            optimizer = optim.SGD(self, lr=0.5)
            take_gradients(self)
            optimizer.step()

    assert Learner().update()() == (0.5, 0.5)
