"""Which operations are carried out as one: a matrix product with bias and activation, a sum with its normalisation.

An operation joins the one before it where nobody else needs that one's result, so that a large array is gone through a
part at a time, while the part is in the processor's cache, and is never stored in between. Of 16-bit floats, the
numbers in between stay float32: they are rounded once, at the end, and so are nearer to the exact ones than those of
the same operations one by one.
"""

from math import prod

from msgflow.tensor.runtime.graph import Graph
from msgflow.tensor.runtime.program import values

Group = tuple[int, ...]

# One number at a time. Those of both kinds that take `out=` may be given one of their inputs for it.
_ARITHMETIC = {"add", "subtract", "multiply", "divide", "power", "negative", "abs", "square"}
_CHOICES = {"maximum", "minimum", "clip", "where"}
_FUNCTIONS = {"exp", "expm1", "log", "log1p", "sqrt", "rsqrt", "sin", "cos", "tanh", "erf"}
_ACTIVATIONS = {"sigmoid", "relu", "leaky_relu", "silu", "softplus", "gelu", "gelu_tanh"}
POINTWISE = frozenset(_ARITHMETIC | _CHOICES | _FUNCTIONS | _ACTIVATIONS)
# One row at a time, along the last axis.
ROWWISE = frozenset({"normalise", "rms_normalise", "softmax", "log_softmax"})


def fused(graph: Graph) -> list[Group]:
    """All operations that an output needs, in their order, each group where its last one was."""
    group_of: dict[int, list[int]] = {}
    for number in sorted(graph.live):
        before = _joined(graph, number, group_of)
        group = [] if before is None else group_of[before]
        group.append(number)
        group_of[number] = group
    groups = {id(group): tuple(group) for group in group_of.values()}
    return sorted(groups.values(), key=lambda group: group[-1])


def _joined(graph: Graph, number: int, group_of: dict[int, list[int]]) -> int | None:
    """The operation that this one carries on from, the latest of those that it may."""
    makers = {graph.program.maker(value) for value in values(graph.program.operations[number].inputs)}
    for maker in sorted((maker for maker in makers if maker is not None), reverse=True):
        if group_of[maker][-1] == maker and joins(graph, tuple(group_of[maker]), number):
            return maker
    return None


def joins(graph: Graph, group: Group, number: int) -> bool:
    """Whether an operation may be fused to the end of a group."""
    program, last = graph.program, group[-1]
    return (
        graph.users[program.name(last)] == (number,)
        and program.name(last) not in graph.outputs
        and (program.name(last) in graph.running) == (program.name(number) in graph.running)
        and (program.operations[group[0]].operation == "matmul" or goes_by_rows(graph, group[0]))
        and _alike(graph, last, number)
        and (_is_pointwise(graph, last, number) or _is_rowwise(graph, last, number))
    )


def _alike(graph: Graph, last: int, number: int) -> bool:
    """Whether both compute as many numbers of the same type, a type that `out=` does not change the numbers of."""
    before, after = graph.program.operations[last], graph.program.operations[number]
    dtype = graph.computed_as(number)
    direct = graph.is_direct(last) and graph.is_direct(number)
    return (
        before.shape == after.shape
        and graph.computed_as(last) == dtype
        and dtype in ("float32", "float64")
        and (direct or (graph.is_wide(last) and graph.is_wide(number)))
    )


def _is_pointwise(graph: Graph, last: int, number: int) -> bool:
    """A matrix product takes a bias along, but leaves the sum with a whole array to a normalisation after it."""
    recorded = graph.program.operations[number]
    others = [value for value in values(recorded.inputs) if value != graph.program.name(last)]
    after_product = graph.program.operations[last].operation == "matmul" and recorded.operation == "add"
    is_residual = after_product and not all(is_bias(graph.program.about(value).shape) for value in others)
    return recorded.operation in POINTWISE and not is_residual


def is_bias(shape: tuple[int, ...]) -> bool:
    """Whether there is one row."""
    return prod(shape[:-1]) == 1


def _is_rowwise(graph: Graph, last: int, number: int) -> bool:
    inputs = graph.program.operations[number].inputs
    return inputs == (graph.program.name(last),) and goes_by_rows(graph, number)


def goes_by_rows(graph: Graph, number: int) -> bool:
    """Whether it can be computed for some rows at a time."""
    recorded = graph.program.operations[number]
    is_last = graph.settings[number].get("axis", -1) in (-1, len(recorded.shape) - 1)
    return recorded.operation in POINTWISE or (recorded.operation in ROWWISE and is_last)
