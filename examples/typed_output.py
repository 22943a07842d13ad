"""An answer as a Python object: python examples/typed_output.py [provider/model]"""

import sys
from typing import Literal

from pydantic import BaseModel

import msgflow.nn as nn


class Ticket(BaseModel):
    """What a support message is about."""

    topic: Literal["billing", "shipping", "other"]
    urgent: bool


def main(model: str = "local/smollm2") -> None:
    read = nn.Agent("reader", model, "Read the message and fill in the ticket.", output=Ticket)
    ticket = read("My parcel has not arrived and I need it today!")
    print(type(ticket).__name__, ticket)


if __name__ == "__main__":
    main(*sys.argv[1:])
