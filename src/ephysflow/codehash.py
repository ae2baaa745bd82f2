"""A hash of the code that a step runs, blind to comments, docstrings and layout.

Snakemake does not see an edit of an imported module. Each rule therefore carries, as a parameter, the
hash of the library modules that its step imports, directly or not, found by reading the sources.
Parent packages' ``__init__`` modules count only where something is imported from them by name.
"""

import ast
import json
import sysconfig
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

from ephysflow.errors import ConfigurationError
from ephysflow.io.atomic import write_text
from ephysflow.io.canonical import canonical_json, digest
from ephysflow.user_modules import find_user_module, importable_file, module_file

PACKAGE = "ephysflow"
STANDARD_LIBRARY = sysconfig.get_path("stdlib")
INSTALLED = frozenset({"site-packages", "dist-packages"})


def syntax_digest(tree: ast.Module) -> str:
    """Return a hash of a syntax tree; its docstrings are taken out."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:]
    return digest(ast.dump(tree))


def imported_names(tree: ast.Module, module: str, is_package: bool) -> list[str]:
    """Return the dotted names that a module imports anywhere, functions included; relative ones made absolute."""
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".")
                keep = len(parents) - node.level + (1 if is_package else 0)
                base = ".".join(parents[:keep] + ([base] if base else []))
            names += [f"{base}.{alias.name}" for alias in node.names]
    return names


class CodeHasher:
    """Hashes of modules and of what they import, remembered by file content from one parse to the next.

    Parameters
    ----------
    memory : JSON file in which the syntax digests are kept; None to keep none
    """

    def __init__(self, memory: Path | None = None) -> None:
        self._memory = memory
        self._known: dict[str, list] = {}
        if memory is not None and memory.is_file():
            try:
                self._known = dict(json.loads(memory.read_text()))
            except ValueError:
                self._known = {}
        self._at_start = len(self._known)
        self._this_time: dict[
            tuple[Path, str], tuple[str, list[str]]
        ] = {}  # many steps import the same modules

    def save(self) -> None:
        """Keep what was learned for the next time."""
        if self._memory is not None and len(self._known) != self._at_start:
            write_text(self._memory, canonical_json(self._known))

    def library(self, modules: Iterable[str]) -> str:
        """Return the hash of these modules of ephysflow and of all modules of ephysflow that they import."""
        root = Path(__file__).parent
        return self._closure(modules, lambda name: _library_file(root, name))

    def user_module(self, module: str, folder: Path) -> str:
        """Return the hash of a user's module and of the user's modules that it imports, directly or not.

        These are the modules beside the configuration and those that are imported from elsewhere but belong neither
        to the standard library nor to installed packages: of ``PYTHONPATH`` and of editable installs. Of an installed
        package only the one that `module` itself is in counts.

        Raises
        ------
        ConfigurationError
            if no such module is found in `folder` or among the installed ones.
        """
        find_user_module(module, folder)
        own = module.partition(".")[0]

        @cache
        def find(name: str) -> Path | None:
            if beside := module_file(folder, name):
                return beside
            found = importable_file(name)
            return found if found and (name.partition(".")[0] == own or not _is_installed(found)) else None

        return self._closure([module], find)

    def _closure(self, modules: Iterable[str], find: Callable[[str], Path | None]) -> str:
        waiting, seen = list(modules), dict[str, str]()
        while waiting:
            name = waiting.pop()
            path = find(name)
            if path is None:  # an object of a module rather than a module, or a foreign package
                name = name.rpartition(".")[0]
                path = find(name) if name else None
            if path is None or name in seen:
                continue
            code, imports = self._read(path, name)
            seen[name] = code
            waiting += imports
        return digest(canonical_json(seen))

    def _read(self, path: Path, name: str) -> tuple[str, list[str]]:
        if (path, name) not in self._this_time:
            self._this_time[path, name] = self._remembered(path, name)
        return self._this_time[path, name]

    def _remembered(self, path: Path, name: str) -> tuple[str, list[str]]:
        content = path.read_bytes()
        key = f"{name}:{digest(content)}"
        if key not in self._known:
            try:
                tree = ast.parse(content)
                names = imported_names(tree, name, path.name == "__init__.py")
                self._known[key] = [syntax_digest(tree), sorted(set(names))]
            except SyntaxError as error:
                raise ConfigurationError(f"{path}: line {error.lineno}: {error.msg}") from None
        code, imports = self._known[key]
        return code, imports


def _is_installed(file: Path) -> bool:
    """Return whether a module is of the standard library or of a package that was installed as a copy."""
    return file.is_relative_to(STANDARD_LIBRARY) or not INSTALLED.isdisjoint(file.parts)


@cache
def _library_file(root: Path, name: str) -> Path | None:
    if name != PACKAGE and not name.startswith(PACKAGE + "."):
        return None
    return module_file(root.parent, name)
