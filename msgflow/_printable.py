"""Text of prompts and names that is shown in a terminal, which must not obey it."""


def printable(line: str) -> str:
    """The line with its control characters as their escapes; tabs stay."""
    if line.isprintable():
        return line
    return "".join(
        letter if letter.isprintable() or letter == "\t" else letter.encode("unicode_escape").decode()
        for letter in line
    )
