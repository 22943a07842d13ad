"""Learning rates that change with time, under the names and by the formulas of `torch.optim.lr_scheduler`.

    schedule = lr_scheduler.SequentialLR(
        optimizer,
        [lr_scheduler.LinearLR(optimizer, 0.1, total_iters=5), lr_scheduler.CosineAnnealingLR(optimizer, T_max=95)],
        milestones=[5],
    )
    ...
    optimizer.step()
    schedule.step()      after every step, or after every epoch: it counts its own calls

The rate depends on that count and on the rate that the group began with (`initial_lr`), and on nothing else. So a rate
that is set by hand lasts until the next `schedule.step()`.
"""

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from math import cos, pi
from typing import Any, final

from msgflow._limits import checked_count
from msgflow.errors import StateDictError
from msgflow.optim.optimizer import Optimizer
from msgflow.optim.options import number


class LRScheduler(ABC):
    """What all schedules share; `last_epoch` is how many steps it has made."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.last_epoch = 0
        self._set()

    @abstractmethod
    def lr_at(self, epoch: int, initial: float, group: int) -> float:
        """The learning rate of a group after so many steps, where it began with `initial`."""

    def step(self) -> None:
        self.last_epoch += 1
        self._set()

    def _set(self) -> None:
        for index, group in enumerate(self.optimizer.param_groups):
            group["lr"] = self.lr_at(self.last_epoch, group.setdefault("initial_lr", group["lr"]), index)

    def get_last_lr(self) -> list[float]:
        """The learning rate of each group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """JSON values; the rates that the groups began with are in the optimiser's."""
        return {"last_epoch": self.last_epoch}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there. Load the optimiser's state first."""
        epoch = state.get("last_epoch")
        if isinstance(epoch, bool) or not isinstance(epoch, int) or epoch < 0:
            raise StateDictError(
                type(self).__name__,
                [],
                [],
                [f"last_epoch: expected a whole number from 0, got {epoch!r:.80}"],
                hint="Give it what state_dict() of a schedule gave.",
            )
        self.last_epoch = epoch
        self._set()


@final
class LambdaLR(LRScheduler):
    """The first rate times `lr_lambda(epoch)`; one function for all groups, or a list of one for each."""

    def __init__(
        self, optimizer: Optimizer, lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]]
    ) -> None:
        groups = len(optimizer.param_groups)
        self.lr_lambdas = [lr_lambda] * groups if callable(lr_lambda) else list(lr_lambda)
        if len(self.lr_lambdas) != groups:
            raise ValueError(f"lr_lambda has {len(self.lr_lambdas)} functions; expected {groups}, one for each group")
        super().__init__(optimizer)

    def lr_at(self, epoch: int, initial: float, group: int) -> float:
        return initial * self.lr_lambdas[group](epoch)


@final
class LinearLR(LRScheduler):
    """From `start_factor` to `end_factor` times the first rate, within `total_iters` steps: a warm-up."""

    def __init__(
        self, optimizer: Optimizer, start_factor: float = 1 / 3, end_factor: float = 1.0, total_iters: int = 5
    ) -> None:
        self.start_factor = number("start_factor", start_factor)
        self.end_factor = number("end_factor", end_factor)
        self.total_iters = checked_count(total_iters, "total_iters")
        super().__init__(optimizer)

    def lr_at(self, epoch: int, initial: float, group: int) -> float:
        part = min(epoch, self.total_iters) / self.total_iters
        return initial * (self.start_factor + (self.end_factor - self.start_factor) * part)


@final
class CosineAnnealingLR(LRScheduler):
    """From the first rate to `eta_min` within `T_max` steps, along half a cosine wave; after that up again.

    Source: Loshchilov and Hutter 2017, arXiv:1608.03983, eq. 5, without restarts.
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0) -> None:
        self.T_max, self.eta_min = checked_count(T_max, "T_max"), number("eta_min", eta_min)
        super().__init__(optimizer)

    def lr_at(self, epoch: int, initial: float, group: int) -> float:
        return self.eta_min + (initial - self.eta_min) * (1 + cos(pi * epoch / self.T_max)) / 2


@final
class SequentialLR(LRScheduler):
    """One schedule after the other: the next begins, counting from 0, when `milestones` says."""

    def __init__(self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Sequence[int]) -> None:
        if not schedulers:
            raise ValueError("a sequence needs at least one schedule")
        if len(milestones) != len(schedulers) - 1:
            raise ValueError(
                f"{len(schedulers)} schedules need {len(schedulers) - 1} milestones between them, not {len(milestones)}"
            )
        if list(milestones) != sorted({checked_count(milestone, "a milestone") for milestone in milestones}):
            raise ValueError(f"milestones is {list(milestones)}; it has to be rising")
        if any(scheduler.optimizer is not optimizer for scheduler in schedulers):
            raise ValueError("a schedule in the sequence is of another optimiser")
        self.schedulers, self.milestones = list(schedulers), list(milestones)
        super().__init__(optimizer)

    def lr_at(self, epoch: int, initial: float, group: int) -> float:
        number = bisect_right(self.milestones, epoch)
        began = self.milestones[number - 1] if number else 0
        return self.schedulers[number].lr_at(epoch - began, initial, group)
