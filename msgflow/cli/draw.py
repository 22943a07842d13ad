"""`msgflow draw`: a module as a picture."""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgflow._printable import printable
from msgflow.cli.target import load
from msgflow.errors import DrawingError
from msgflow.nn.drawing import Drawing, dot, mermaid
from msgflow.nn.tree_diagram import drawing

LAYOUT_TIMEOUT_S = 60
LAID_OUT = {".svg": "svg", ".png": "png", ".pdf": "pdf"}
WRITTEN: dict[str, Callable[[Drawing], str]] = {".mmd": mermaid, ".mermaid": mermaid, ".dot": dot, ".gv": dot}

NO_DOT = """\
{output} was not written: it needs the program `dot` of Graphviz, which is not installed.
Install it with `apt-get install graphviz`, `brew install graphviz` or `winget install graphviz`,
or draw a .mmd file, which needs nothing. The same picture as Mermaid text is on the standard output.
"""
EPILOG = """\
MODULE:OBJECT is a Python module and what it has under that name: a flow, any
other module of msgflow, or a function that takes no arguments and returns one.
  app:workflow             workflow of app.py, here or wherever Python finds it
  shop.support:make.flow   the part `flow` of `make`

The suffix of FILE says what is written:
  .svg .png .pdf           a picture; needs the program `dot` of Graphviz
  .mmd                     Mermaid text, which many sites show as a picture
  .dot                     Graphviz text
"""


def add_command(commands: Any) -> None:
    parser = commands.add_parser(
        "draw",
        help="draw a flow, or the tree of any module",
        description="Draw a flow, or the tree of any module, without a network.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("target", metavar="MODULE:OBJECT")
    parser.add_argument(
        "-o", "--output", metavar="FILE", type=Path, help="where to; without it, Mermaid text is printed"
    )
    parser.set_defaults(run=draw)


def draw(chosen: argparse.Namespace) -> int:
    """The status is 1 where `dot` is needed and not there; the Mermaid text is printed then."""
    output: Path | None = chosen.output
    if output is not None:
        _check_suffix(output)
    picture = drawing(load(chosen.target))
    if output is None:
        print(mermaid(picture), end="")
        return 0
    suffix = output.suffix.lower()
    if suffix in WRITTEN:
        output.write_text(WRITTEN[suffix](picture), encoding="utf-8")
        return 0
    program = shutil.which("dot")
    if program is None:
        print(NO_DOT.format(output=printable(str(output))), end="", file=sys.stderr)
        print(mermaid(picture), end="")
        return 1
    output.write_bytes(_laid_out(program, LAID_OUT[suffix], dot(picture)))
    return 0


def _check_suffix(output: Path) -> None:
    known = [*LAID_OUT, *WRITTEN]
    if output.suffix.lower() not in known:
        raise DrawingError(f"the suffix of {str(output)!r} says nothing about what to write; known: {', '.join(known)}")


def _laid_out(program: str, format_: str, text: str) -> bytes:
    """The picture that dot makes of a text. What it writes is complete, or raises DrawingError."""
    try:
        done = subprocess.run(
            [program, f"-T{format_}"], input=text.encode(), capture_output=True, timeout=LAYOUT_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise DrawingError(
            f"dot was not done within {LAYOUT_TIMEOUT_S} s; draw a part of the module, or write a .dot file and lay "
            "it out with `dot -Gsplines=line`"
        ) from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise DrawingError(f"dot ended with status {done.returncode}: {said or 'it said nothing about it'}")
    return done.stdout
