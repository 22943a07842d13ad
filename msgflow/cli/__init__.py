"""The `msgflow` command."""

import argparse
import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper

from msgflow import __version__
from msgflow._printable import printable
from msgflow.cli import demo, draw, state, weights
from msgflow.errors import MsgflowError

BROKEN_PIPE = 141  # what a shell says of a program that wrote to a pipe without a reader


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is 0, 1 for an error of ours (one line on stderr), 130 for Ctrl-C.

    A command may have further ones for what it has found, which its help tells.
    """
    parser = argparse.ArgumentParser(prog="msgflow", description="LLM workflows with the shape of PyTorch.")
    parser.add_argument("--version", action="version", version=f"msgflow {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    demo.add_command(commands)
    weights.add_command(commands)
    state.add_command(commands)
    draw.add_command(commands)
    chosen = parser.parse_args(arguments)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a prompt may hold more than a terminal can show
    try:
        status = chosen.run(chosen) or 0
        sys.stdout.flush()
    except BrokenPipeError:  # what is printed was piped to a program that has read enough, such as head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except (MsgflowError, OSError) as error:
        print("\n".join(map(printable, f"msgflow: {error}".split("\n"))), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return int(status)
