"""A forward recorded once, planned, and run many times: `mt.Runtime` and `mt.Plan`.

    recording.py   the operations of a forward, as they are called
    program.py     what was recorded, as data; graph.py has it with the operations themselves
    planning.py    what is done in which order (fusing.py), and where results are (placing.py, buffers.py)
    plan.py        the plan, which can be saved (plan_file.py); before it is used, checking.py checks it
    binding.py     the plan with its memory, its steps as functions (acts.py, chain.py)
    executing.py   each run; on a GPU with cuda_graph.py
    running.py     Runtime

Everything up to the plan is a function of values; only what comes after it holds arrays.
"""

from msgflow.tensor.runtime.plan import Plan
from msgflow.tensor.runtime.running import Runtime

__all__ = ["Plan", "Runtime"]
