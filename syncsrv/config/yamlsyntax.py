"""After a syntax error: what to tell people, and what to leave out so that the rest can be read. Pure."""

from __future__ import annotations

import re


def without_block(text: str, suspects: tuple[int, ...]) -> tuple[str | None, str | None]:
    """Blank the top-level block that broke the syntax, so that what follows can be read.

    Args:
        text: what could not be read.
        suspects: lines (from 1) that may be in that block, the likeliest first.

    Returns:
        The text, every place in it where it was, and the block's key; None for what there is not.
    """
    lines = text.splitlines(keepends=True)
    for line in suspects:
        begin = min(line, len(lines)) - 1
        while begin >= 0 and not _begins_block(lines[begin]):
            begin -= 1
        if begin < 0:
            continue
        end = begin + 1
        while end < len(lines) and not _begins_block(lines[end]):
            end += 1
        blank = [re.sub("[^\r\n\x85\u2028\u2029]", " ", line) for line in lines[begin:end]]
        key = re.match(r"""(?:"([^"]*)"|'([^']*)'|(\w[^:]*?))\s*:(?:\s|\Z)|(\w+)""", lines[begin])
        return "".join([*lines[:begin], *blank, *lines[end:]]), next(filter(None, key.groups()), None) if key else None
    return None, None


def _begins_block(line: str) -> bool:
    return line[:1] not in (" ", "\t", "\r", "\n", "#", "-", "]", "}", "")


def in_our_words(context: str, problem: str) -> str:
    """What the parser says of a syntax error, for people who do not write parsers."""
    if "'\\t'" in problem:
        return "a tab stands where only spaces may indent"
    if "mapping values are not allowed" in problem:
        return "a second `: ` in one value, or wrong indentation; text with `: ` in it stands in quotes"
    if "expected <block end>" in problem:
        return "this does not fit the indentation above it"
    if problem.startswith("expected ',' or"):
        return f"`{problem[17]}` or `,` is missing before this"
    if "quoted scalar" in context and "end of stream" in problem:
        return "a quote is not closed"
    if "could not find expected ':'" in problem:
        return "a `:` is missing after this key"
    if "cannot start any token" in problem:
        return f"nothing can begin with {problem.split()[2]}; text that does stands in quotes"
    return problem.replace("'\\x00'", "the end of the file")
