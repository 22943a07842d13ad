"""`msgflow models`: the embedded models' files."""

import argparse
from typing import Any

from msgflow.models import weights


def add_command(commands: Any) -> None:
    parser = commands.add_parser("models", help="list and fetch the embedded models")
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    listed = actions.add_parser("list", help="show the embedded models and where their files are")
    listed.set_defaults(run=list_models)
    pull = actions.add_parser("pull", help="fetch a model's files into the user's cache directory and verify them")
    pull.add_argument("name", choices=sorted(weights.WEIGHTS), help="the model")
    pull.set_defaults(run=pull_model)


def list_models(_: argparse.Namespace) -> None:
    for name, known in weights.WEIGHTS.items():
        place = weights.find(name)
        print(f"{name:<20}{known.size / 1e6:>6.0f} MB  {known.licence:<12}{place or 'not fetched'}")


def pull_model(chosen: argparse.Namespace) -> None:
    print(weights.pull(chosen.name, say=print))
