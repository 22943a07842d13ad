"""Size budgets that ruff has no rule for: no file over 400 lines.

    python scripts/budgets.py FOLDER...

Statements per function and complexity are ruff's (PLR0915, C901), import cycles import-linter's.
"""

import sys
from pathlib import Path

MAX_LINES = 400


def main(folders: list[str]) -> int:
    sizes = {path: len(path.read_text().splitlines()) for folder in folders for path in Path(folder).rglob("*.py")}
    over = {path: lines for path, lines in sizes.items() if lines > MAX_LINES}
    for path, lines in sorted(over.items()):
        print(f"{path}: {lines} lines, at most {MAX_LINES}: split it by idea")
    if not sizes:
        print(f"no Python files in {', '.join(folders) or 'no folder'}: nothing was checked")
    return 1 if over or not sizes else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
