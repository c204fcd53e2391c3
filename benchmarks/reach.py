"""How many files does one story take? `python benchmarks/reach.py`.

Prints one JSON object. `files`: for each entry, those of ours that hold a definition which it uses,
directly or not; an import that nothing on the way uses does not count. `core`: the lines of code of
V-JEPA from masks to the moving average, without comments and docstrings.
"""

from __future__ import annotations

import ast
import io
import json
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("vjepa", "decoder", "app")
CORE = ("config", "tokens", "masks", "transformer", "model", "pretrain")
ENTRIES = {
    "VJEPA": ("vjepa.model", "VJEPA"),
    "load": ("vjepa.checkpoint", "load"),
    "pretrain": ("vjepa.pretrain", "pretrain"),
    "Explorer": ("decoder.explorer", "Explorer"),
    "decoder train": ("decoder.training.train", "train"),
    "page Mask and decode": ("app.mask_and_decode.page", "page"),
}

Name = tuple[str, str]
"""A definition: its module, and what it is called there."""


@dataclass
class Names:
    """What a part of a file knows by name."""

    modules: dict[str, str] = field(default_factory=dict)  # our modules
    imported: dict[str, Name] = field(default_factory=dict)  # our definitions

    def take(self, tree: ast.AST) -> Names:
        """Adds what is imported anywhere in a piece of code."""
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    self._take(node.module, alias)
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    if _file(alias.name):
                        self.modules[alias.asname or alias.name] = alias.name
        return self

    def _take(self, module: str, alias: ast.alias) -> None:
        known = alias.asname or alias.name
        if _file(f"{module}.{alias.name}"):
            self.modules[known] = f"{module}.{alias.name}"
        elif _file(module):
            self.imported[known] = (module, alias.name)


def reached(entry: Name) -> list[str]:
    """The modules with a definition that an entry uses."""
    seen: set[Name] = set()
    queue = [entry]
    while queue:
        name = queue.pop()
        if name not in seen:
            seen.add(name)
            queue.extend(_used(*name))
    return sorted({module for module, name in seen if name in _definitions(module)})


def _used(module: str, name: str) -> Iterator[Name]:
    """What the code behind a name refers to."""
    own, shared = _definitions(module), _names(module)
    if name in shared.imported:
        yield shared.imported[name]
    if name not in own:
        return
    names = Names(dict(shared.modules), dict(shared.imported)).take(own[name])
    for node in ast.walk(own[name]):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id in names.modules:
                yield names.modules[node.value.id], node.attr
        elif isinstance(node, ast.Name):
            if node.id in names.imported:
                yield names.imported[node.id]
            elif node.id in own:
                yield module, node.id


@lru_cache
def _definitions(module: str) -> dict[str, ast.stmt]:
    """Functions, classes and constants of a module, by name."""
    found: dict[str, ast.stmt] = {}
    for node in ast.parse(_file(module).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = (n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name))
            found.update(dict.fromkeys(names, node))
    return found


@lru_cache
def _names(module: str) -> Names:
    """What a whole module imports, outside of its functions and classes."""
    names = Names()
    for node in ast.parse(_file(module).read_text(encoding="utf-8")).body:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.take(node)
    return names


@lru_cache
def _file(module: str) -> Path | None:
    """The file of a module of ours; None for what is none."""
    if module.split(".")[0] not in PACKAGES:
        return None
    path = ROOT.joinpath(*module.split("."))
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((file for file in candidates if file.is_file()), None)


def lines_of_code(path: Path) -> int:
    """Lines that hold code: no comments, blank lines, docstrings or strings that stand alone."""
    text = path.read_text(encoding="utf-8")
    prose = {
        line
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        for line in range(node.lineno, node.end_lineno + 1)
    }
    blank = {"COMMENT", "NL", "NEWLINE", "INDENT", "DEDENT", "ENDMARKER"}
    code = {
        line
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if tokenize.tok_name[token.type] not in blank
        for line in range(token.start[0], token.end[0] + 1)
    }
    return len(code - prose)


def main() -> None:
    """Prints the table."""
    files = {name: len(reached(entry)) for name, entry in ENTRIES.items()}
    core = {name: lines_of_code(ROOT / "vjepa" / f"{name}.py") for name in CORE}
    print(json.dumps({"files": files, "core": core | {"all": sum(core.values())}}))


if __name__ == "__main__":
    main()
