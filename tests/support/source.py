"""Reads Python source for tests/test_architecture.py: what it imports, what it uses, what it catches."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Use:
    """A place in a source.

    Attributes:
        name: dotted: the module imported, the thing used, or the function around a handler.
        line: where.
    """

    name: str
    line: int


@dataclass(frozen=True, slots=True)
class Source:
    """One module.

    Attributes:
        path: relative to the repository's top, with slashes: ``syncsrv/store/repo.py``.
        text: what it says.
    """

    path: str
    text: str

    @property
    def module(self) -> str:
        """Its dotted name."""
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    def tree(self) -> ast.Module:
        """Its syntax tree."""
        return ast.parse(self.text, self.path)


def sources(top: Path, *folders: str) -> list[Source]:
    """Every module below these folders of the repository."""
    return [
        Source(path.relative_to(top).as_posix(), path.read_text())
        for folder in folders
        for path in sorted((top / folder).rglob("*.py"))
    ]


def imports(source: Source) -> list[Use]:
    """Each module or name that the source imports, anywhere in it, by its full name.

    ``from a import b`` counts as ``a.b``: whether b is a module of a or a name in it makes no difference to a law.
    """
    package = source.module if source.path.endswith("__init__.py") else source.module.rpartition(".")[0]
    found = []
    for node in ast.walk(source.tree()):
        if isinstance(node, ast.Import):
            found += [Use(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base]).rstrip(".")
            found += [Use(f"{base}.{alias.name}", node.lineno) for alias in node.names]
    return found


def uses(source: Source) -> list[Use]:
    """Each dotted name that the source uses, with imported names written out in full.

    ``from time import time as now; now()`` is a use of ``time.time``, and so is ``field(default_factory=time.time)``.
    """
    tree = source.tree()
    known: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                known[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                known[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    found = []
    within = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Load) and id(node) not in within:
            dotted = _dotted(node)
            if dotted:
                first, dot, rest = dotted.partition(".")
                found.append(Use(known.get(first, first) + dot + rest, node.lineno))
    return found


def shells(source: Source) -> list[Use]:
    """Each call with ``shell=`` anything but False."""
    return [
        Use("shell=", node.lineno)
        for node in ast.walk(source.tree())
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "shell" and not (isinstance(keyword.value, ast.Constant) and keyword.value.value is False)
    ]


def catch_alls(source: Source) -> list[Use]:
    """Each handler of Exception, BaseException or everything, that does not end by raising the same again.

    The name is that of the function around it, with its class: ``Server.serve``.
    """
    return list(_catch_alls(source.tree(), ""))


def _catch_alls(node: ast.AST, inside: str) -> Iterator[Use]:
    for child in ast.iter_child_nodes(node):
        around = inside
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            around = f"{inside}.{child.name}".lstrip(".")
        catches = isinstance(child, ast.ExceptHandler) and _is_broad(child.type) and not _raises_again(child)
        suppresses = (
            isinstance(child, ast.Call)
            and (_dotted(child.func) or "").rpartition(".")[2] == "suppress"
            and any(_is_broad(argument) for argument in child.args)
        )
        if catches or suppresses:
            yield Use(inside, child.lineno)  # type: ignore[attr-defined]  # both kinds have it, AST has not
        yield from _catch_alls(child, around)


def _is_broad(caught: ast.expr | None) -> bool:
    if caught is None:
        return True
    if isinstance(caught, ast.Tuple):
        return any(_is_broad(one) for one in caught.elts)
    return _dotted(caught) in {"Exception", "BaseException", "builtins.Exception", "builtins.BaseException"}


def _raises_again(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def _dotted(node: ast.expr) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value)
        return before and f"{before}.{node.attr}"
    return None


_SUPPRESSION = re.compile(r"#\s*(noqa|type:\s*ignore|pragma:|ruff:|mypy:)(?P<rest>.*)", re.IGNORECASE)
_EXPLAINED = re.compile(r"^(:\s*[A-Z0-9, ]+?|\[[a-z\-, ]+\])\s*(#|[-:(])\s*\S+")


def bare_suppressions(source: Source) -> list[Use]:
    """Each comment that silences a tool without naming the rule and saying why."""
    found = []
    for number, line in enumerate(source.text.splitlines(), 1):
        match = _SUPPRESSION.search(line)
        if match and not _EXPLAINED.match(match["rest"]):
            found.append(Use(match[0].strip(), number))
    return found
