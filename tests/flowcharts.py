"""Reads what `nn.diagram` writes, as a reader of the picture would; anything else in the text fails."""

import html
import re
from dataclasses import dataclass, field

import msgflow.nn as nn

# The whole grammar. Mermaid's own parser takes it; labels hold nothing that it could read.
TEXT = r"""((?:[^\W_]|[ .,:=()+/'-]|#\d+;)+)"""
SHAPES = {
    "step": rf'\["{TEXT}"\]',
    "again": rf'\[\["{TEXT}"\]\]',
    "decision": rf'\{{"{TEXT}"\}}',
    "fork": rf'\{{\{{"{TEXT}"\}}\}}',
    "point": rf'\(\("{TEXT}"\)\)',
    "end": rf'\(\["{TEXT}"\]\)',
}
EDGE = re.compile(rf'(n\d+) (-->|==>|-\.->)(?:\|"{TEXT}"\|)? (n\d+)')
BOX = re.compile(rf'subgraph (b\d+)\["{TEXT}"\]')
ARROWS = {"-->": ("-", "->"), "==>": ("=", "=>"), "-.->": ("~", "~>")}


@dataclass
class Picture:
    """`arrows` are lines such as "a -> b", "a -[yes]-> b" and "a ~[name]~> b"; the texts of points are "*"."""

    nodes: list[str] = field(default_factory=list)
    shapes: dict[str, str] = field(default_factory=dict)
    arrows: list[str] = field(default_factory=list)
    boxes: dict[str, list[str]] = field(default_factory=dict)


def shown(label):
    """A label as a reader sees it: Mermaid takes #34; for the HTML entity of that number."""
    return html.unescape(re.sub(r"#(\d+);", r"&#\1;", label or ""))


def read(module: nn.Module) -> Picture:
    first, *lines = nn.diagram(module).removesuffix("\n").split("\n")
    assert first == "flowchart TD"
    picture, texts, places, inside = Picture(), {}, {}, ()
    for line in lines:
        margin = "    " * (1 + len(inside))
        if line == margin[4:] + "end" and inside:
            inside = inside[:-1]
            continue
        assert line.startswith(margin) and not line[len(margin) :].startswith(" "), line
        line = line.strip(" ")
        shape = next((name for name, form in SHAPES.items() if re.fullmatch(rf"n\d+{form}", line)), None)
        if box := BOX.fullmatch(line):
            inside = (*inside, shown(box[2]))
            picture.boxes.setdefault(inside[-1], [])
        elif shape:
            id_, text = line[: re.search(r"\W", line).start()], re.fullmatch(rf"n\d+{SHAPES[shape]}", line)[1]
            assert id_ not in texts
            texts[id_], places[id_] = "*" if shape == "point" else shown(text), inside
            picture.nodes.append(texts[id_])
            picture.shapes[texts[id_]] = shape
            for box in inside:
                picture.boxes[box].append(texts[id_])
        else:
            start, arrow, label, end = EDGE.fullmatch(line).groups()
            common = [a for a, b in zip(places[start], places[end], strict=False) if a == b]
            assert list(inside) == common, "an edge belongs into the innermost box of both of its ends"
            line, head = ARROWS[arrow]
            picture.arrows.append(f"{texts[start]} {f'{line}[{shown(label)}]' if label else ''}{head} {texts[end]}")
    assert not inside
    return picture
