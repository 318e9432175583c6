"""Finding recipes, spaces and ablations: by name (`module.function`) or in a person's own file."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from interplay.errors import InterplayError, closest
from interplay.recipe.files import read_recipe
from interplay.recipe.tree import Recipe

DEFAULT = "default"


def find_recipe(reference: str) -> Recipe:
    """The recipe that `reference` names.

    `deit.small` is the function `small` of `recipes/deit.py`; `mine.py:tiny` a function of your own file;
    `cell/recipe.yaml` a resolved recipe.

    Raises:
        InterplayError: if there is no such recipe, naming the closest ones, or its function raises.
    """
    if reference.endswith((".yaml", ".yml")):
        return read_recipe(Path(reference))
    recipe = call(reference, find_function(reference, package="recipes"))
    if not isinstance(recipe, Recipe):
        raise InterplayError(f"{reference} returned {type(recipe).__name__}, not a Recipe")
    return recipe


def call(reference: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """What a person's function returns; a mistake in it is one sentence too."""
    try:
        return function(*arguments)
    except InterplayError:
        raise
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = "".join(f"{part}: " for part in (reference, ".".join(map(str, first["loc"]))) if part)
        raise InterplayError(place + first["msg"].removeprefix("Value error, ")) from error
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        raise InterplayError(f"{reference} raised {type(error).__name__}: {reason}") from error


def find_function(reference: str, package: str) -> Callable[..., Any]:
    """The public function that `reference` names, in `package` or in a file.

    `module` alone means `module.default`.

    Raises:
        InterplayError: if the file, the module or the function does not exist.
    """
    if ".py" in reference:
        path, _, name = reference.partition(":")
        module = load_file(Path(path))
        name = name or DEFAULT
    else:
        module_name, _, name = reference.rpartition(".")
        if reference in _modules(package):
            module_name, name = reference, DEFAULT
        if module_name not in _modules(package):
            raise InterplayError(f"there is no {reference!r} in {package}{_hint(reference, package)}")
        module = importlib.import_module(f"{package}.{module_name}")
    functions = _functions(module)
    if name not in functions:
        raise InterplayError(
            f"{module.__name__} has no function {name!r}{closest(name, functions) or _listed(functions)}"
        )
    return functions[name]


def names(package: str) -> list[str]:
    """Every `module.function` of `package`."""
    return sorted(
        f"{module}.{function}"
        for module in _modules(package)
        for function in _functions(importlib.import_module(f"{package}.{module}"))
    )


def _modules(package: str) -> list[str]:
    root = importlib.import_module(package)
    return [m.name for m in pkgutil.iter_modules(root.__path__) if not m.ispkg]


def _functions(module: ModuleType) -> dict[str, Callable[..., Any]]:
    return {
        name: value
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_")
    }


def load_file(path: Path) -> ModuleType:
    """The Python file at `path`, imported under its name.

    Raises:
        InterplayError: if there is no such file or it raises.
    """
    if not path.is_file():
        raise InterplayError(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise InterplayError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)
    try:
        spec.loader.exec_module(module)
    except InterplayError:
        raise
    except (Exception, SystemExit) as error:
        raise InterplayError(f"{path} could not be read: {type(error).__name__}: {error}") from error
    return module


def _hint(reference: str, package: str) -> str:
    return closest(reference, names(package)) or _listed(names(package))


def _listed(valid: list[str] | dict[str, Any]) -> str:
    return f"; there are: {', '.join(sorted(valid))}"
