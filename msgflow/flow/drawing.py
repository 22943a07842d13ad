"""How each flow is drawn: the part of the table of `msgflow.nn.sketch` for the flows of this package."""

from collections.abc import Iterable

from msgflow.flow.attempts import Fallback, Retry, Timeout
from msgflow.flow.choices import Choosing, IfElse, Switch, shown
from msgflow.flow.expression import Chain, Fork, Repeat, Stage, Step
from msgflow.flow.graph import Graph
from msgflow.flow.inline import Inline
from msgflow.flow.loop import Loop
from msgflow.flow.map import Map
from msgflow.flow.parallel import Diverter, Parallel
from msgflow.flow.pipeline import Pipeline
from msgflow.flow.steps import Flow
from msgflow.nn.sketch import Ends, Exit, Sketch, boxed, draw, is_plain, text_of

LONGEST_ARGUMENT = 40

boxed.update({Map: "for each item", Retry: "", Timeout: "", Fallback: ""})


def _step(flow: Flow, sketch: Sketch, name: str) -> Ends:
    """Draw a step whose name a user chose."""
    return sketch.step(flow._modules[name], name, _arguments(flow, name))


def _part(flow: Flow, sketch: Sketch, name: str) -> Ends:
    """Draw a step whose name says what it is to the flow, which the picture shows."""
    return sketch.step(flow._modules[name], arguments=_arguments(flow, name))


def _arguments(flow: Flow, name: str) -> str:
    if name not in flow._bindings:
        return ""
    given = flow._bindings[name]
    named = (f"{key}={value!r:.{LONGEST_ARGUMENT}}" for key, value in given.kwargs.items())
    return ", ".join([*(f"{value!r:.{LONGEST_ARGUMENT}}" for value in given.args), *named])


def _branches(sketch: Sketch, start: str, branches: Iterable[tuple[str, Ends]]) -> tuple[Exit, ...]:
    """Draw an edge to each branch, with what is written on it; returns where all of them are left."""
    exits: list[Exit] = []
    for text, ends in branches:
        sketch.edge(start, ends.entry, text)
        exits += ends.exits
    return tuple(exits)


def _joined(sketch: Sketch, exits: Iterable[Exit]) -> tuple[Exit, ...]:
    """A point where all branches are waited for."""
    point = sketch.node("", "point")
    sketch.connect(exits, point)
    return (Exit(point),)


@draw.register
def _(flow: Pipeline, sketch: Sketch) -> Ends:
    return sketch.in_order((_step(flow, sketch, name) for name in flow._modules), text_of(flow))


@draw.register(Parallel)
@draw.register(Diverter)
def _(flow: Parallel, sketch: Sketch) -> Ends:
    if not flow._modules:
        return sketch.single(text_of(flow))
    start = sketch.node("", "point") if sketch.is_boxed(flow) else sketch.node(text_of(flow), "fork")
    is_diverter = isinstance(flow, Diverter)
    branches = ((name if is_diverter else "", _step(flow, sketch, name)) for name in flow._modules)
    return Ends(start, _joined(sketch, _branches(sketch, start, branches)))


@draw.register(Map)
@draw.register(Retry)
@draw.register(Timeout)
def _(flow: Map | Retry | Timeout, sketch: Sketch) -> Ends:
    return _part(flow, sketch, "step")


@draw.register
def _(flow: Fallback, sketch: Sketch) -> Ends:
    errors = " or ".join(error.__name__ for error in flow.on if error is not Exception) or "error"
    steps: list[Ends] = []
    for name in flow._modules:
        steps.append(_step(flow, sketch, name))
        if len(steps) > 1:
            sketch.edge(steps[-2].entry, steps[-1].entry, f"on {errors}", "aside")
    return Ends(steps[0].entry, tuple(each for step in steps for each in step.exits))


# --- choices and loops -----------------------------------------------------------------------------------------------


def _is_asked(flow: Choosing, name: str) -> bool:
    return name in flow._modules or name in flow.__dict__


def _question(flow: Choosing, sketch: Sketch, name: str) -> tuple[str, str]:
    """Where asking begins, and the decision: they are one, but for a question that is a flow, which has steps."""
    if name not in flow._modules:
        node = sketch.node(shown(flow.__dict__[name]), "decision")
    elif is_plain(flow._modules[name]):
        node = sketch.node(text_of(flow._modules[name]), "decision")
    else:
        asked = _part(flow, sketch, name)
        node = sketch.node(f"{name}?", "decision")
        sketch.connect(asked.exits, node)
        return asked.entry, node
    return node, node


@draw.register
def _(flow: IfElse, sketch: Sketch) -> Ends:
    entry, decision = _question(flow, sketch, "condition")
    answers = {"then": "yes", "otherwise": "no"}
    branches = ((text, _part(flow, sketch, name)) for name, text in answers.items() if name in flow._modules)
    exits = _branches(sketch, decision, branches)
    return Ends(entry, exits if "otherwise" in flow._modules else (*exits, Exit(decision, "no")))


@draw.register
def _(flow: Switch, sketch: Sketch) -> Ends:
    if _is_asked(flow, "key"):
        entry, decision = _question(flow, sketch, "key")
    else:
        entry = decision = sketch.node(text_of(flow), "decision")
    cases = {name: shown(case) for name, case in flow._cases.items()} | {"default": "default"}
    branches = ((text, _part(flow, sketch, name)) for name, text in cases.items() if name in flow._modules)
    return Ends(entry, _branches(sketch, decision, branches))


@draw.register
def _(flow: Loop, sketch: Sketch) -> Ends:
    body = _part(flow, sketch, "body")
    if not _is_asked(flow, "until"):
        sketch.connect(body.exits, body.entry, f"{flow.max_steps} rounds")
        return body
    asked, decision = _question(flow, sketch, "until")
    sketch.connect(body.exits, asked)
    sketch.edge(decision, body.entry, f"no, up to {flow.max_steps} rounds")
    return Ends(body.entry, (Exit(decision, "yes"),))


# --- graphs ----------------------------------------------------------------------------------------------------------


@draw.register
def _(flow: Graph, sketch: Sketch) -> Ends:
    plan = flow._plan()
    if not flow._modules:
        return sketch.single(text_of(flow))
    starts = [name for name in flow._modules if not flow._edges[name]]
    entry = sketch.node("", "point") if len(starts) > 1 else ""
    nodes = {name: _step(flow, sketch, name) for name in flow._modules}
    for name in starts if entry else ():
        sketch.edge(entry, nodes[name].entry)
    for name, node in nodes.items():
        conditions = flow._edges[name]
        for source in plan.waits[name]:
            condition = conditions.get(source)
            text = "" if condition is None else shown(condition)
            # What a node only refers to is waited for as well.
            sketch.connect(nodes[source].exits, node.entry, text, "plain" if source in conditions else "aside")
    exits = tuple(each for name in plan.sinks for each in nodes[name].exits)
    return Ends(entry or nodes[starts[0]].entry, exits if len(plan.sinks) == 1 else _joined(sketch, exits))


# --- expressions -----------------------------------------------------------------------------------------------------


@draw.register
def _(flow: Inline, sketch: Sketch) -> Ends:
    chain: Chain = flow.expression.chain
    return _chain(flow, sketch, chain) if chain.stages else sketch.single(text_of(flow))


# An expression may be as deep as the stack bears: no generators in what follows, which would take frames of it.


def _chain(flow: Inline, sketch: Sketch, chain: Chain) -> Ends:
    stages = []
    for stage in chain.stages:
        stages.append(_stage(flow, sketch, stage))
    return sketch.in_order(stages, "")


def _stage(flow: Inline, sketch: Sketch, stage: Stage) -> Ends:
    if isinstance(stage, Step):
        return _step(flow, sketch, stage.name) if stage.name in flow._modules else sketch.single(stage.name)
    if isinstance(stage, Fork):
        start = sketch.node("", "point")
        return Ends(start, _joined(sketch, _ways(flow, sketch, start, [("", branch) for branch in stage.branches])))
    decision = sketch.node(str(stage.condition), "decision")
    if isinstance(stage, Repeat):
        sketch.connect(_ways(flow, sketch, decision, [("yes", stage.body)]), decision)
        return Ends(decision, (Exit(decision, "no"),))
    if stage.otherwise is not None:
        return Ends(decision, _ways(flow, sketch, decision, [("yes", stage.then), ("no", stage.otherwise)]))
    return Ends(decision, (*_ways(flow, sketch, decision, [("yes", stage.then)]), Exit(decision, "no")))


def _ways(flow: Inline, sketch: Sketch, start: str, chains: list[tuple[str, Chain]]) -> tuple[Exit, ...]:
    exits: list[Exit] = []
    for text, chain in chains:
        ends = _chain(flow, sketch, chain)
        sketch.edge(start, ends.entry, text)
        exits += ends.exits
    return tuple(exits)
