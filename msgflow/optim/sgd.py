"""SGD: along the gradient."""

from typing import Any, final

from msgflow.optim.optimizer import Optimizer, Options, Rule
from msgflow.optim.options import number
from msgflow.optim.state_dict import State
from msgflow.tensor.backends import Array, Namespace


@final
class SGD(Optimizer):
    """Stochastic gradient descent, with momentum where asked for.

    Source: Sutskever et al. 2013, with PyTorch's conventions: the momentum is of gradients, not of steps, and the first
    gradient enters it undampened.
    """

    moments = ("momentum_buffer",)

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        given = {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay}
        super().__init__(params, {**given, "nesterov": nesterov})

    def _checked(self, options: Options) -> Options:
        checked: Options = {
            name: number(name, options[name]) for name in ("lr", "momentum", "dampening", "weight_decay")
        }
        checked["nesterov"] = bool(options["nesterov"])
        if checked["nesterov"] and (checked["momentum"] == 0 or checked["dampening"] != 0):
            raise ValueError(
                f"nesterov needs a momentum above 0 and no dampening, not momentum={checked['momentum']} "
                f"and dampening={checked['dampening']}"
            )
        return checked

    def _rule(self, options: Options, state: State) -> tuple[Rule, tuple[str, ...]]:
        lr, momentum, decay = options["lr"], options["momentum"], options["weight_decay"]
        names = self.moments if momentum else ()
        kept = 1.0 - options["dampening"] if names and names[0] in state.moments else 1.0

        def rule(xp: Namespace, value: Array, grad: Array, buffer: Array | None = None) -> None:
            if decay:
                grad = grad + value * decay
            if buffer is not None:
                buffer *= momentum
                buffer += grad if kept == 1.0 else grad * kept
                grad = grad + buffer * momentum if options["nesterov"] else buffer
            value -= grad * lr

        return rule, names
