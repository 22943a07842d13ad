"""Reads what `msgflow demo` printed and fails unless it holds what it promises.

An answer that is correct, a source, one connected span tree, another answer after the swap, two different digests.
"""

import re
import sys

SPANS = ("invoke_workflow ", "retrieval ", "invoke_agent ", "chat ")


def problems(text: str) -> list[str]:
    """What is missing, in words."""
    answers = re.findall(r"^answer: +(.+)$", text, re.MULTILINE)
    digests = re.findall(r"^state: +([0-9a-f]{16})$", text, re.MULTILINE)
    tree = [line for line in text.splitlines() if line.lstrip("│ ├─└").startswith(SPANS)]
    roots = [line for line in tree if not line.startswith(("│", "├", "└", " "))]
    checks = {
        "two answers": len(answers) == 2,
        "a correct first answer (it names aiohttp)": bool(answers) and "aiohttp" in answers[0].lower(),
        "a different second answer": len(set(answers)) == 2,
        "a source": bool(re.search(r"^source: +\S+\.md#\S+", text, re.MULTILINE)),
        "one tree with one root": len(roots) == 1 and len(tree) == len(SPANS),
        "two different state digests": len(digests) == len(set(digests)) == 2,
    }
    return [name for name, holds in checks.items() if not holds]


if __name__ == "__main__":
    missing = problems(sys.stdin.read())
    for name in missing:
        print(f"the demo's output lacks {name}", file=sys.stderr)
    sys.exit(1 if missing else 0)
