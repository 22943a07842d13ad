"""Hostile texts in pictures, as Mermaid and as Graphviz DOT: they are shown, and nothing else happens."""

import re
import shutil
import subprocess
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import msgflow.nn as nn
from msgflow import flow
from msgflow.nn.drawing import Box, Drawing, Edge, Node, dot, mermaid, one_line
from msgflow.nn.tree_diagram import drawing
from tests.flowcharts import read

needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="the program dot of Graphviz is not installed")

HOSTILE = [
    '"]; click n0 "javascript:alert(1)"',
    '"; n9 [label="injected"]; x="',
    '"} digraph { evil -> worse',
    "end\n    subgraph evil",
    "%%{init: {'theme': 'dark'}}%% /* comment */ // more",
    "<script>alert(1)</script> & &lt; &#60; #lt; #quot;",
    "<<b>html</b>>",
    r"\N \G \n \l \" \\",
    "back\\",
    "`**bold**` _it_ [a](b) {c} |d| ~~~ ```",
    "\u202e\u2028\x00\x1b[31m\ud800 it is text",
    "日本語 naïve 🙂",
    "---\ntitle: x\n---",
]


class Named(nn.Module):
    def __init__(self, text):
        super().__init__()
        self.text = text

    def forward(self, x):
        return x

    def extra_repr(self):
        return self.text


def everywhere(text):
    """A flow with the text at every place that a picture shows."""

    def function(x):
        return x

    function.__name__ = text
    name = text.replace(".", "").lstrip("_") or "x"
    graph = flow.Graph()
    graph.add(name, function)
    graph.add("last", Named(text), text, after={name: function})
    quoted = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ").replace("\r", " ")
    return flow.Pipeline(
        flow.Switch(
            {text: Named(text)}, default=type(text.replace("\x00", "").replace("\ud800", ""), (Named,), {})(text)
        ),
        flow.IfElse(function, function),
        flow.Loop(flow.Diverter(**{name: function}), until=function),
        flow.Inline(f'{{a == "{quoted}" ? {"a"}}}', {"a": function}),
        Named(flow.Pipeline(function)),
        **{name: graph},
    )


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_texts_never_become_mermaid_code(hostile):
    nodes = read(everywhere(hostile)).nodes  # which reads every line
    assert one_line(f"Named({hostile})") in nodes and one_line(hostile) in nodes


@given(st.text(max_size=60))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_any_text_is_shown_as_it_is_on_one_line(text):
    assert one_line(f"Named({text})" if text else "Named") in read(flow.Pipeline(Named(text))).nodes


def test_long_texts_are_cut():
    assert max(map(len, read(flow.Pipeline(Named("x" * 1_000_000))).nodes)) == 120


# --- DOT -------------------------------------------------------------------------------------------------------------


def test_a_drawing_as_dot():
    edges = (Edge("n0", "n1", "yes"), Edge("n0", "n2", line="aside"), Edge("n2", "n1", line="next"))
    inside = (Node("n0", "is it?", "decision"), Node("n1", "a", "again"))
    text = dot(Drawing((Box("b0", "box", inside), Node("n2", ""), *edges)))
    assert text.split("\n")[4:] == [
        "    subgraph cluster_b0 {",
        '        label="box"',
        '        n0 [label="is it&#63;", shape=diamond, margin="0.02"]',
        '        n1 [label="a", shape=box, peripheries=2]',
        "    }",
        '    n2 [label="", shape=box, style=rounded]',
        '    n0 -> n1 [label=" yes"]',
        '    n0 -> n2 [label="", style=dashed]',
        '    n2 -> n1 [label="", penwidth=2]',
        "}",
        "",
    ]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_texts_never_become_dot_code(hostile):
    label = r'"(?:[^\W_]|[ .,:=()+/\'-]|[^\x00-\x7f]|&#\d+;|\\n|\\\\)*"'
    line = re.compile(
        rf"\s*(?:}}|subgraph cluster_b\d+ {{|label={label}|n\d+(?: -> n\d+)? \[label={label}[^\"\[\]]*\])"
    )
    text = dot(drawing(everywhere(hostile))).replace(', margin="0.02"', "")
    start, *lines = text.rstrip("\n").split("\n    ")
    assert start == "digraph msgflow {" and all(line.fullmatch(each) for each in "\n".join(lines[3:]).split("\n"))


@needs_dot
@pytest.mark.parametrize("hostile", HOSTILE)
def test_graphviz_shows_what_is_there(hostile):
    picture = drawing(everywhere(hostile))
    svg = subprocess.run(
        ["dot", "-Tsvg"], input=dot(picture).encode(), capture_output=True, timeout=30, check=True
    ).stdout
    tree = ElementTree.fromstring(svg)
    assert {element.tag.rpartition("}")[2] for element in tree.iter()} <= {
        "svg",
        "g",
        "title",
        "text",
        "path",
        "polygon",
        "ellipse",
        "polyline",
    }
    groups = [group for group in tree.iter() if group.get("class") == "node"]
    shown = [" ".join(text.text for text in group if text.tag.endswith("text")) for group in groups]
    expected = [node.text for node in nodes(picture.parts)]
    assert sorted(" ".join(each.replace("\xa0", " ").split()) for each in shown) == sorted(map(one_line, expected))


def nodes(parts):
    for part in parts:
        if isinstance(part, Node):
            yield part
        elif isinstance(part, Box):
            yield from nodes(part.parts)


def test_mermaid_needs_something_between_the_quotes():
    assert '{" "}' in mermaid(Drawing((Node("n0", "\x00", "decision"),)))
