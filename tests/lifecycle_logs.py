"""Modules that write down how they are trained and deployed, and the places from which users do that."""

from functools import partial

import msgflow.nn as nn

PLACES = ["on a thread with a running loop", "in a forward"]


class Does(nn.Module):
    """Calls something from a plain forward."""

    def forward(self, do):
        return do()


async def directly(module, do):
    return do()


class Logs(nn.Module):
    """Writes what happens to it into a log."""

    def __init__(self, name, log, *children):
        super().__init__()
        self.name, self.log = name, log
        self.children_ = list(children)

    def _get_train_tasks(self):
        return partial(self.log.append, f"train {self.name}")

    def _get_deploy_tasks(self):
        self.log.append(f"deploy {self.name}")
        return lambda: partial(self.log.append, f"undo {self.name}")
