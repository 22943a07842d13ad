"""Optimisers of tensors, by the rules of PyTorch. `from msgflow import optim`."""

from typing import TYPE_CHECKING

from msgflow._lazy import lazy as _lazily

if TYPE_CHECKING:
    from msgflow.optim import lr_scheduler
    from msgflow.optim.adamw import AdamW
    from msgflow.optim.clipping import clip_grad_norm_, clip_grad_value_
    from msgflow.optim.optimizer import Optimizer
    from msgflow.optim.sgd import SGD

__all__ = ["SGD", "AdamW", "Optimizer", "clip_grad_norm_", "clip_grad_value_", "lr_scheduler"]

__getattr__ = _lazily(
    __name__,
    {
        "AdamW": "adamw",
        "Optimizer": "optimizer",
        "SGD": "sgd",
        "clip_grad_norm_": "clipping",
        "clip_grad_value_": "clipping",
        "lr_scheduler": "",
    },
)


def __dir__() -> list[str]:
    return __all__
