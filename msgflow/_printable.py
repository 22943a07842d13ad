"""Text of prompts, names and expressions that is shown in a terminal, which must not obey it."""


def printable(line: str) -> str:
    """The line with its control characters as their escapes; tabs stay."""
    if line.isprintable():
        return line
    return "".join(
        letter if letter.isprintable() or letter == "\t" else letter.encode("unicode_escape").decode()
        for letter in line
    )


def with_caret(text: str, line: int, column: int) -> str:
    """The line with a caret under a column, both from 1; a part of it where it is long. What is wide stays wide."""
    from unicodedata import east_asian_width  # milliseconds, and needed for mistakes alone

    start = max(0, column - 61)
    part = "".join(c if c.isprintable() else " " for c in text.split("\n")[line - 1][start : start + 100])
    under = "".join("\u3000" if east_asian_width(c) in "WF" else " " for c in part[: column - 1 - start])
    return f"    {part}\n    {under}^"
