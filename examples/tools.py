"""An agent that uses a tool: python examples/tools.py [provider/model]"""

import sys

import msgflow.nn as nn


def add(a: int, b: int) -> int:
    """Add two whole numbers."""
    return a + b


def main(model: str = "local/smollm2") -> None:
    agent = nn.Agent("calculator", model, "Use the tool add to add numbers.", tools=[add])
    result = agent.run("What is 17 plus 25?")
    for message in result.messages:
        for call in message.tool_calls:
            print("called:", call.name, call.arguments)
        if message.role == "tool":
            print("result:", message.text)
    print("answer:", result.output)


if __name__ == "__main__":
    main(*sys.argv[1:])
