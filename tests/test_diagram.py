"""Diagrams of module trees: what they show, and that nothing in a tree can become Mermaid code."""

import html
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import msgflow.nn as nn
from msgflow.models import ScriptedModel

# The whole grammar of what `diagram` writes. Mermaid's own parser takes it; labels hold nothing that it could read.
TEXT = r"""(?:[^\W_]|[ .,:=()+/'-]|#\d+;)+"""
NODE = re.compile(rf'    (n\d+)\["({TEXT})"\]')
EDGE = re.compile(rf'    (n\d+) (-->|==>)\|"({TEXT})"\| (n\d+)')


class Step(nn.Module):
    def __init__(self, text=""):
        super().__init__()
        self.text = text

    def forward(self, x):
        return x

    def extra_repr(self):
        return self.text


class Tree(nn.Module):
    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)


def shown(label):
    """A label as a reader sees it: Mermaid takes #34; for the HTML entity of that number."""
    return html.unescape(re.sub(r"#(\d+);", r"&#\1;", label))


def read(text):
    """The nodes' texts by id, and the edges; fails on a line that is neither, and on an edge to no node."""
    first, *lines = text.removesuffix("\n").split("\n")
    assert first == "flowchart TD"
    nodes, edges = {}, []
    for line in lines:
        if match := NODE.fullmatch(line):
            assert match[1] not in nodes
            nodes[match[1]] = shown(match[2])
        else:
            match = EDGE.fullmatch(line)
            assert match, line
            edges.append((match[1], match[2], shown(match[3]), match[4]))
    assert {end for edge in edges for end in (edge[0], edge[3])} <= set(nodes)
    return nodes, [(nodes[start], arrow, label, nodes[end]) for start, arrow, label, end in edges]


def test_a_tree_has_a_node_for_each_module_and_an_edge_to_each_child():
    assert nn.diagram(Tree(first=Step("a"), second=Tree(third=Step()))) == (
        "flowchart TD\n"
        '    n0["Tree"]\n'
        '    n1["Step(a)"]\n'
        '    n0 -->|"first"| n1\n'
        '    n2["Tree"]\n'
        '    n0 -->|"second"| n2\n'
        '    n3["Step"]\n'
        '    n2 -->|"third"| n3\n'
    )


def test_equal_trees_have_equal_diagrams():
    def build():
        return Tree(steps=[Step("a"), Step("b")], last=nn.Sequential(Step(), Step("c")))

    assert nn.diagram(build()) == nn.diagram(build())


def test_a_sequential_is_a_chain():
    _, edges = read(nn.diagram(nn.Sequential(Step("a"), nn.Sequential(Step("b"), Step("c")), Step("d"))))
    assert edges == [
        ("Sequential", "-->", "0", "Step(a)"),
        ("Step(a)", "==>", "1", "Sequential"),
        ("Sequential", "-->", "0", "Step(b)"),
        ("Step(b)", "==>", "1", "Step(c)"),
        ("Sequential", "==>", "2", "Step(d)"),
    ]


def test_lists_and_dicts_of_modules_are_named_on_the_edges_of_their_owner():
    _, edges = read(
        nn.diagram(Tree(steps=[Step("a"), Step("b")], table={"x": Step("c"), "y": nn.ModuleDict({"z": Step("d")})}))
    )
    assert edges == [
        ("Tree", "-->", "steps.0", "Step(a)"),
        ("Tree", "-->", "steps.1", "Step(b)"),
        ("Tree", "-->", "table.x", "Step(c)"),
        ("Tree", "-->", "table.y.z", "Step(d)"),
    ]


def test_an_empty_list_is_not_drawn():
    assert read(nn.diagram(Tree(steps=nn.ModuleList()))) == ({"n0": "Tree"}, [])


def test_a_list_that_is_called_or_shared_or_the_root_has_a_node():
    class Called(nn.ModuleList):
        def forward(self, x):
            return x

    shared = nn.ModuleList([Step("a")])
    nodes, edges = read(nn.diagram(Tree(called=Called([Step("b")]), one=shared, two=shared)))
    assert list(nodes.values()) == ["Tree", "Called", "Step(b)", "ModuleList", "Step(a)"]
    assert [edge[2] for edge in edges] == ["called", "0", "one", "0", "two"]
    assert read(nn.diagram(nn.ModuleDict({"a": Step()})))[1] == [("ModuleDict", "-->", "a", "Step")]


def test_an_agent_is_drawn_with_its_tools_and_the_agents_among_them():
    def search(word: str) -> str:
        """Search."""

    writer = nn.Agent("writer", ScriptedModel("x"), tools=[search])
    nodes, edges = read(nn.diagram(nn.Agent("editor", ScriptedModel("x"), tools=[search, writer])))
    assert next(iter(nodes.values())) == "Agent('editor', model='test/scripted')"
    assert [(label, end) for _, _, label, end in edges] == [
        ("tools.search", "Tool(search)"),
        ("tools.writer", "Tool(writer)"),
        ("function", "Agent('writer', model='test/scripted')"),
        ("tools.search", "Tool(search)"),
    ]


# --- equal and shared modules ----------------------------------------------------------------------------------------


def test_neighbours_that_are_equal_are_drawn_as_one():
    same = [nn.Sequential(Step("a"), Step("b")) for _ in range(3)]
    nodes, edges = read(nn.diagram(Tree(layers=[*same, Step(), Step()], named={"x": Step(), "y": Step()})))
    assert list(nodes.values()) == ["Tree", "3 x Sequential", "Step(a)", "Step(b)", "2 x Step", "Step", "Step"]
    assert [edge[2] for edge in edges] == ["layers.0-2", "0", "1", "layers.3-4", "named.x", "named.y"]


def test_lists_of_lists_that_are_equal_keep_their_count():
    nodes, edges = read(nn.diagram(Tree(table=nn.ModuleList([nn.ModuleList([Step()]) for _ in range(2)]))))
    assert list(nodes.values()) == ["Tree", "2 x ModuleList", "Step"]
    assert [edge[2] for edge in edges] == ["table.0-1", "0"]


def test_a_shared_module_is_drawn_once():
    shared = nn.Sequential(Step("a"), Step("b"))
    nodes, edges = read(nn.diagram(Tree(one=shared, two=shared)))
    assert list(nodes.values()) == ["Tree", "Sequential", "Step(a)", "Step(b)"]
    assert [(edge[2], edge[3]) for edge in edges if edge[0] == "Tree"] == [("one", "Sequential"), ("two", "Sequential")]


def test_a_module_that_is_repeated_in_a_chain_is_one_node_with_one_edge():
    step = Step("a")
    nodes, edges = read(nn.diagram(nn.Sequential(step, step, step, Step("b"))))
    assert list(nodes.values()) == ["Sequential", "Step(a)", "Step(b)"]
    assert edges == [("Sequential", "-->", "0-2", "Step(a)"), ("Step(a)", "==>", "3", "Step(b)")]


def test_modules_that_look_equal_but_share_a_part_are_told_apart():
    encoder = Step("encoder")
    nodes, edges = read(nn.diagram(nn.Sequential(Tree(encoder=encoder), Tree(encoder=encoder))))
    assert list(nodes.values()) == ["Sequential", "Tree", "Step(encoder)", "Tree"]
    assert [edge[2:] for edge in edges] == [
        ("0", "Tree"),
        ("encoder", "Step(encoder)"),
        ("1", "Tree"),
        ("encoder", "Step(encoder)"),
    ]


def test_a_module_below_itself_has_an_edge_back():
    tree = Tree(child=nn.Sequential(Step()))
    tree.child.append(tree)
    assert read(nn.diagram(tree))[1][-1] == ("Step", "==>", "1", "Tree")


# --- hostile texts ---------------------------------------------------------------------------------------------------

HOSTILE = [
    '"]; click n0 "javascript:alert(1)"',
    "%%{init: {'theme': 'dark'}}%%",
    "a\n    n9[injected]\n    click n0 href",
    "<script>alert(1)</script> & &lt; #lt; #quot;",
    "`**bold**` _it_ [a](b) {c} |d| \\ ~~~ ```",
    "end",
    "---\ntitle: x\n---",
    "\u202e\u2028\x00\x1b[31m\ud800",
    "日本語 naïve 🙂",
    " ",
]


def one_line(text):
    return " ".join("".join(mark if mark.isprintable() else " " for mark in text).split())


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_texts_and_names_are_shown_and_nothing_else(hostile):
    name = hostile.replace(".", "")
    tree = Tree(table={name: Step("a")}, text=Step(hostile))
    tree.add_module(name, Step("b"))
    nodes, edges = read(nn.diagram(tree))
    assert list(nodes.values()) == ["Tree", "Step(a)", one_line(f"Step({hostile})"), "Step(b)"]
    assert [edge[2] for edge in edges] == [one_line(f"table.{name}"), "text", one_line(name) or " "]


def test_hostile_names_of_classes_are_only_text():
    hostile = type('x"]; click n0 "', (Step,), {})
    assert read(nn.diagram(hostile("a")))[0] == {"n0": 'x"]; click n0 "(a)'}


@given(st.text(max_size=60))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_any_text_is_shown_as_it_is_on_one_line(text):
    nodes, _ = read(nn.diagram(Step(text)))
    assert nodes == {"n0": one_line(f"Step({text})") if text else "Step"}


def test_long_texts_are_cut():
    nodes, _ = read(nn.diagram(Step("x" * 1_000_000)))
    assert nodes["n0"].endswith("x...") and len(nodes["n0"]) == 120


def test_a_diagram_is_of_a_module():
    with pytest.raises(TypeError, match="a diagram is of a Module, not of list"):
        nn.diagram([Step()])
