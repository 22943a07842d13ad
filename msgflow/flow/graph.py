"""Graph: steps that wait for the results of others."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from graphlib import CycleError, TopologicalSorter
from typing import Any, Self, TypeVar

import anyio

from msgflow._bridge import gather, in_flow
from msgflow._leaf import resolved
from msgflow.errors import FlowStructureError
from msgflow.flow.refs import Arguments, Scope, given, named
from msgflow.flow.steps import Flow, note_place
from msgflow.nn.module import Module

T = TypeVar("T")
Condition = Callable[[Any], Any]
Edges = dict[str, Condition | None]


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a call runs to its end, whatever is added and removed meanwhile.

    `order` has each node after those that it waits for; `waits` also has those that its references need.
    """

    steps: Mapping[str, Module]
    edges: Mapping[str, Edges]
    arguments: Mapping[str, Arguments]
    order: tuple[str, ...]
    waits: Mapping[str, tuple[str, ...]]
    sinks: tuple[str, ...]


class Graph(Flow):
    """Each node is called as soon as the nodes that it comes after have returned, with their results, in that order.

    A node that comes after none gets what the graph was called with. The result is that of the one node that no other
    comes after; of several such nodes a dict by name.

    An edge may have a condition on the result that it carries: `after={"classify": is_billing}`. A node gets the
    results of the edges that carry one, and is left out where none does; a dict of several last nodes is of those that
    ran. Raises FlowStructureError for a cycle and for names that no node has.
    """

    _keeps_results = _takes_steps = True

    def __init__(self) -> None:
        super().__init__()
        self.__dict__["_edges"] = {}
        self._replan()

    def add(self, name: str, step: Any, /, *args: Any, after: str | Iterable[str] | Edges = (), **kwargs: Any) -> Self:
        """Add a node after others, which may be added later. With arguments it gets those in place of their results."""
        edges, known = _edges(after), self._edges
        # Only through a node that comes after this one already can it close a cycle.
        if name not in known and (name in edges or any(name in others for others in tuple(known.values()))):
            _order({**known, name: edges})
        if name not in self._modules:
            known[name] = edges  # before it is a node, so that no call sees it without
        try:
            self._add(name, step, args, kwargs)
        except BaseException:
            if name not in self._modules:
                del known[name]
            raise
        return self

    def _set_step(self, name: str, step: Any) -> None:
        super()._set_step(name, step)
        self._replan()

    def _register(self, table: dict[str, T], name: str, value: T) -> None:
        super()._register(table, name, value)
        if value is self._modules.get(name):
            self._edges.setdefault(name, {})
            self._replan()

    def _forget(self, name: str) -> bool:
        is_node = name in self._modules
        found = super()._forget(name)
        if is_node:
            self._edges.pop(name, None)
            self._replan()
        return found

    def _replan(self) -> None:
        """Plan again at the next call. A call that is planning now puts its plan into the old list."""
        self.__dict__["_planned"] = []

    def _plan(self) -> _Plan:
        planned: list[_Plan] = self._planned
        if not planned:
            planned.append(self._make_plan())
        return planned[0]

    def _make_plan(self) -> _Plan:
        listed, arguments = self._shape()
        steps = dict(listed)
        edges: dict[str, Edges] = {name: self._edges.get(name, {}) for name in steps}
        waits = {}
        for name, sources in edges.items():
            for source in sources:
                if source not in steps:
                    raise FlowStructureError(
                        f"the node {name!r} comes after {source!r}, which is none of: {', '.join(steps)}"
                    )
            refs = [named(ref) for ref in arguments[name].refs()] if name in arguments else []
            waits[name] = (*sources, *(ref for ref in refs if ref in steps and ref not in sources))
        followed = {source for names in waits.values() for source in names}
        sinks = tuple(name for name in steps if name not in followed)
        return _Plan(steps, edges, arguments, _order(waits), waits, sinks)

    async def aforward(self, *args: Any, **kwargs: Any) -> Any:
        plan = self._plan()
        if not plan.order:
            return given(args, kwargs)
        with Scope(self, args, kwargs) as scope:
            ended = {name: anyio.Event() for name in plan.order}
            calls: list[Callable[[], Awaitable[None]]] = [
                partial(self._node, name, plan, ended, scope) for name in plan.order
            ]
            # A stack of its own for each node, however deep flows nest.
            await gather(calls, lone_in_place=False, as_flows=False)
        results = {name: scope.results[name] for name in plan.sinks if name in scope.results}
        if not results:
            raise FlowStructureError(
                f"no edge led to the end of the graph, which is {', '.join(plan.sinks)}; add an edge for every case"
            )
        return results[plan.sinks[0]] if len(plan.sinks) == 1 else results

    async def _node(self, name: str, plan: _Plan, ended: dict[str, anyio.Event], scope: Scope) -> None:
        for source in plan.waits[name]:
            await ended[source].wait()
        step, edges, (args, kwargs) = plan.steps[name], plan.edges[name], (scope.args, scope.kwargs)
        try:
            if edges:
                args, kwargs = await in_flow(_carried, (edges, scope.results), {}), {}
            if args or not edges:
                if name in plan.arguments:
                    args, kwargs = plan.arguments[name](args, kwargs)
                scope.results[name] = await step.acall(*args, **kwargs)
        except Exception as error:
            note_place(error, self, name, step)
            raise
        ended[name].set()


def _carried(edges: Edges, results: Mapping[str, Any]) -> tuple[Any, ...]:
    """The results of those nodes that ran and whose edge has no condition, or one that holds."""
    return tuple(
        results[source]
        for source, condition in edges.items()
        if source in results and (condition is None or resolved(condition(results[source])))
    )


def _edges(after: Any) -> Edges:
    if isinstance(after, str):
        return {after: None}
    names = list(after)
    edges = dict(after) if isinstance(after, Mapping) else dict.fromkeys(names)
    for source, condition in edges.items():
        if not isinstance(source, str):
            raise TypeError(f"a node comes after names of nodes, not after {source!r:.80}")
        if isinstance(condition, Module):
            raise FlowStructureError(
                "the condition of an edge is a function; a Module is a node, whose result a function can look at"
            )
        if condition is not None and not callable(condition):
            raise TypeError(f"the condition of the edge from {source!r} is a function, not {condition!r:.80}")
    if len(edges) != len(names):
        raise FlowStructureError(f"a node is named twice in after={names!r:.80}; each edge carries its result once")
    return edges


def _order(waits: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """Names after those that they wait for. Raises FlowStructureError for a cycle."""
    try:
        return tuple(TopologicalSorter(waits).static_order())
    except CycleError as error:
        raise FlowStructureError(f"these nodes wait for each other, in a cycle: {' -> '.join(error.args[1])}") from None
