"""A user's own readers and stimulus classes: Python files beside the configuration, or installed."""

import ast
import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

from ephysflow.errors import ConfigurationError


def find_user_module(module: str, folder: Path) -> Path:
    """Return the file of a user's module: beside the configuration first, then among the installed ones.

    Nothing is imported.

    Raises
    ------
    ConfigurationError
        if it is in neither.
    """
    found = module_file(folder, module) or importable_file(module)
    if found is None:
        raise ConfigurationError(f"module {module!r} is neither a Python file in {folder} nor installed")
    return found


def check_user_object(dotted: str, folder: Path) -> None:
    """Refuse a ``module.name`` that the source of the module does not define; nothing is imported.

    Raises
    ------
    ConfigurationError
        if the module or the name is not there.
    """
    module_name, _, name = dotted.rpartition(".")
    path = find_user_module(module_name, folder)
    defined: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            defined.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            defined.add(node.id)
        elif isinstance(node, ast.alias):
            defined.add(node.asname or node.name)
    if name not in defined and "*" not in defined:
        raise ConfigurationError(f"{path}: has no {name!r} (asked for as {dotted!r})")


def load_user_object(dotted: str, folder: Path | None) -> Any:
    """Import ``module.name`` of the user, from beside the configuration first.

    Raises
    ------
    ConfigurationError
        if the module or the name is not there.
    """
    module_name, _, name = dotted.rpartition(".")
    folder = folder or Path()
    path = find_user_module(module_name, folder)
    if str(folder.resolve()) not in sys.path:
        sys.path.insert(0, str(folder.resolve()))  # so that it can import what lies beside it
    module = sys.modules.get(module_name)
    if module is None or Path(module.__file__ or "").resolve() != path.resolve():
        parent = module_name.rpartition(".")[0]
        if parent and module_file(folder, module_name) is None:
            importlib.import_module(parent)  # an installed package may prepare what its modules need
        spec = importlib.util.spec_from_file_location(module_name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[module_name]  # half of a module must not be found the next time
            raise
    if not hasattr(module, name):
        raise ConfigurationError(f"{path}: has no {name!r} (asked for as {dotted!r})")
    return getattr(module, name)


def importable_file(name: str) -> Path | None:
    """Return the Python file that ``import name`` would read, or None; nothing is imported, no parent package either."""
    top, _, rest = name.partition(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if not rest:
        file = Path(spec.origin or "")
        return file if file.suffix == ".py" and file.is_file() else None
    found = (module_file(Path(folder), rest) for folder in spec.submodule_search_locations or ())
    return next(filter(None, found), None)


def module_file(folder: Path, name: str) -> Path | None:
    """Return the file of a module inside `folder`, or None."""
    base = folder.joinpath(*name.split("."))
    for candidate in (base.with_name(base.name + ".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None
