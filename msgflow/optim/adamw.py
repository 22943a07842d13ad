"""AdamW: each number at its own pace."""

from math import sqrt
from typing import Any, final

from msgflow.optim.optimizer import Optimizer, Options, Rule
from msgflow.optim.options import betas as two_betas
from msgflow.optim.options import number
from msgflow.optim.state_dict import State
from msgflow.tensor.backends import Array, Namespace


@final
class AdamW(Optimizer):
    """Adam with decoupled weight decay.

    Source: Loshchilov and Hutter 2019, arXiv:1711.05101, algorithm 2; decays by `lr * weight_decay`, as PyTorch does.
    """

    moments = ("exp_avg", "exp_avg_sq")
    required = ("step", *moments)

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    def _checked(self, options: Options) -> Options:
        return {name: two_betas(value) if name == "betas" else number(name, value) for name, value in options.items()}

    def _rule(self, options: Options, state: State) -> tuple[Rule, tuple[str, ...]]:
        lr, (beta1, beta2), eps = options["lr"], options["betas"], options["eps"]
        state.step += 1
        kept = 1.0 - lr * options["weight_decay"]
        size, root = lr / (1.0 - beta1**state.step), sqrt(1.0 - beta2**state.step)

        def rule(xp: Namespace, value: Array, grad: Array, exp_avg: Array, exp_avg_sq: Array) -> None:
            value *= kept
            change = grad - exp_avg
            change *= 1.0 - beta1
            exp_avg += change
            exp_avg_sq *= beta2
            square = grad * grad
            square *= 1.0 - beta2
            exp_avg_sq += square
            scale = xp.sqrt(exp_avg_sq)
            scale /= root
            scale += eps
            step = exp_avg / scale
            step *= size
            value -= step

        return rule, self.moments
