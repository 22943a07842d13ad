"""The only place where blocking and async code meet.

A composite is written once, as a plain `def forward`, and serves both doors. The trick is a greenlet:

    module(x)                 plain code          `forward` is simply called
    await module.acall(x)     on an event loop    `forward` runs in a Flow, a greenlet of its own; what has to be
                                                  waited for inside it is handed to the loop, and meanwhile other
                                                  tasks run

Everything rests on one function, `wait(awaitable)`, which returns the result wherever it is called:

    inside a Flow             the coroutine is stepped on the Flow's own stack; each future that it waits for is
                              switched out to the task that carries the Flow, which yields it to the loop
    anywhere else             the coroutine runs on the one background loop thread and the caller blocks

Nested calls stay in their root's Flow: one greenlet a task. Tasks of the background loop are Flows from the start, so
blocking calls inside async code there suspend, too, and nothing can wait for itself. Worker threads are unbounded: in
a bounded pool, calls that nest exhaust it and hang.
"""

from msgflow._bridge.background import Launched, launch, shielded, wait
from msgflow._bridge.branches import Slots, gather
from msgflow._bridge.flows import current_flow, excuse, in_flow, running_loop
from msgflow._bridge.threads import in_thread

__all__ = [
    "Launched",
    "Slots",
    "current_flow",
    "excuse",
    "gather",
    "in_flow",
    "in_thread",
    "launch",
    "running_loop",
    "shielded",
    "wait",
]
