"""A function of placeholders, recorded and launched."""

import msgflow.tensor as mt


def recorded(function, *placeholders):
    runtime = mt.Runtime()
    with runtime:
        out = function(*placeholders)
    runtime.launch()
    return runtime, out
