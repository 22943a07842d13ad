"""Optimizer: what all optimisers share."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, ClassVar, TypeAlias, TypeVar

from msgflow._version_clock import inside_call
from msgflow.errors import StaleState
from msgflow.nn.parameter import Parameter
from msgflow.optim import state_dict as _saved
from msgflow.optim.arrays import beside, in_chunks, own_copy
from msgflow.optim.parameters import Trained, gradient_of, groups_of, publish_all, trained, value_of
from msgflow.optim.state_dict import DESCRIBED, State
from msgflow.tensor.backends import Array, namespace, narrowed, widened
from msgflow.tensor.backward import enable_grad
from msgflow.tensor.tensors import Tensor

T = TypeVar("T")
Options: TypeAlias = dict[str, Any]
# Changes the value in place: rule(xp, value, gradient, *moments). All are arrays of one shape.
Rule: TypeAlias = Callable[..., None]


class Optimizer(ABC):
    """Changes parameters by their gradients: `step()` after each `backward()`.

    `params` are those of a module, `module.parameters()` or the module itself; or any iterable of Parameters and of
    tensors that require a gradient, or of pairs of a name and one; or a list of groups, dicts with `params` and with
    options of their own. Prompts among them are left alone. `param_groups` are these groups, and what is changed there
    (`group["lr"] = 0.1`) holds from the next step on.

    16-bit floats are stepped in float32: the optimiser keeps its moments, and a copy of the parameter, in that.
    """

    moments: ClassVar[tuple[str, ...]]
    required: ClassVar[tuple[str, ...]] = ()
    param_groups: list[dict[str, Any]]

    def __init__(self, params: Any, defaults: Options) -> None:
        self._defaults = self._checked(defaults)
        self.param_groups = []
        self._states: dict[Trained, State] = {}
        for group in groups_of(params):
            self.add_param_group(group)
        if not any(group["params"] for group in self.param_groups):
            raise ValueError(
                f"{type(self).__name__} was given no parameter that holds a tensor, and it trains nothing else; "
                "give it the parameters() of a module with tensors"
            )

    @abstractmethod
    def _checked(self, options: Options) -> Options:
        """The options, every one of them. Raises ValueError for one that is out of its range."""

    @abstractmethod
    def _rule(self, options: Options, state: State) -> tuple[Rule, tuple[str, ...]]:
        """What the next step does, `state` being that of the parameter, and the names of the moments that it needs."""

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Train more parameters: `{"params": [...], "lr": 0.1}`; what it does not say is as for the others.

        Raises ValueError for a parameter that is trained already, and for unknown options.
        """
        if not isinstance(group, Mapping) or "params" not in group:
            raise TypeError(f"a group of parameters is a dict with 'params', not {group!r:.80}")
        options = {name: value for name, value in group.items() if name not in DESCRIBED}
        self._refuse_unknown(options)
        found, before = trained(group["params"]), set(self._all_parameters())
        again = [name or "a parameter" for parameter, name in found.items() if parameter in before]
        if again:
            raise ValueError(f"{', '.join(again)}: in two groups; a parameter is stepped once")
        described = {name: group[name] for name in DESCRIBED if name in group}
        described |= {"param_names": list(found.values())} if any(found.values()) else {}
        checked = self._checked({**self._defaults, **options})
        self.param_groups.append({**described, "params": list(found), **checked})

    def _refuse_unknown(self, options: Options) -> None:
        for name in options:
            if name not in self._defaults:
                near = get_close_matches(str(name), self._defaults, 1)
                meant = f"did you mean {near[0]!r}? " if near else ""
                raise ValueError(
                    f"{type(self).__name__} has no option {name!r}; {meant}there are {', '.join(self._defaults)}"
                )

    def _all_parameters(self) -> list[Trained]:
        return [parameter for group in self.param_groups for parameter in group["params"]]

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for parameter in self._all_parameters():
            parameter.grad = None

    def step(self, closure: Callable[[], T] | None = None) -> T | None:
        """Change every parameter that has a gradient, all in one version: a call that runs sees all of it or nothing.

        `closure` computes the loss, and the gradients, once more; what it returns is returned.
        Raises StaleState inside a call, which would go on with the old values; in a transaction there it works.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        work = [
            (group, parameter, grad)
            for group in self.param_groups
            for parameter in group["params"]
            if (grad := gradient_of(parameter)) is not None
        ]
        if inside_call():
            _refuse_stale(self, [parameter for _, parameter, _ in work])
        publish_all([(parameter, self._stepped(group, parameter, grad)) for group, parameter, grad in work])
        return loss

    def _stepped(self, group: Options, parameter: Trained, grad: Tensor) -> Tensor:
        value = value_of(parameter)
        state = self._states.setdefault(parameter, State())
        if not value.dtype.is_half:
            new = own_copy(value.array)
            self._carry_out(group, state, new, grad.array)
            return Tensor.of(new)
        # Whoever gave the parameter another value since the last step meant that one.
        master = state.master if state.master is not None and state.rounded is value.array else widened(value.array)
        new = own_copy(master)
        self._carry_out(group, state, new, widened(grad.array))
        rounded = Tensor.of(narrowed(new, value.dtype))
        state.master, state.rounded = new, rounded.array
        return rounded

    def _carry_out(self, group: Options, state: State, value: Array, grad: Array) -> None:
        xp = namespace(value)
        rule, names = self._rule(group, state)
        for name in names:
            had = state.moments.get(name)
            state.moments[name] = xp.zeros_like(value) if had is None else beside(had, value)
        for chunk in in_chunks([value, grad, *(state.moments[name] for name in names)]):
            rule(xp, *chunk)

    def state_dict(self) -> dict[str, Any]:
        """All that the next steps depend on beside the parameters, as a flat dict of JSON values and tensors.

        `mf.save(optimizer.state_dict(), path)` writes it to a .safetensors file or a folder.
        """
        return _saved.collect(self.param_groups, self._states)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state dict of this class: one of its own, or the nested one of PyTorch.

        Parameters are told by their order. Raises StateDictError, with every problem and before any change.
        """
        names = frozenset(self._defaults)
        wanted = _saved.Wanted(
            type(self).__name__, self.param_groups, self._checked, names, self.moments, self.required
        )
        options, states = _saved.prepared(wanted, state)
        for group, loaded in zip(self.param_groups, options, strict=True):
            group.update(loaded)
        self._states = states

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for number, group in enumerate(self.param_groups):
            shown = [f"{name}={value!r}" for name, value in group.items() if name not in ("params", "param_names")]
            lines.append(f"  {number}: {len(group['params'])} parameters, {', '.join(shown)}")
        return "\n".join([*lines, ")"])


def _refuse_stale(optimizer: Optimizer, parameters: list[Trained]) -> None:
    if any(isinstance(parameter, Parameter) for parameter in parameters):
        raise StaleState(
            f"{type(optimizer).__name__}.step() inside a call: the call goes on reading the values that it began with, "
            "so that every step would start from them. Train outside of calls, in an `update()` task, or inside "
            "`with module.transaction():`, which publishes at its end."
        )
