"""The `msgflow` command."""

import argparse
import sys
from collections.abc import Sequence

from msgflow import __version__
from msgflow.cli import demo, weights
from msgflow.errors import MsgflowError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is 0, 1 for an error of ours (one line on stderr), 130 for Ctrl-C."""
    parser = argparse.ArgumentParser(prog="msgflow", description="LLM workflows with the shape of PyTorch.")
    parser.add_argument("--version", action="version", version=f"msgflow {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    demo.add_command(commands)
    weights.add_command(commands)
    chosen = parser.parse_args(arguments)
    try:
        chosen.run(chosen)
    except MsgflowError as error:
        print(f"msgflow: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0
