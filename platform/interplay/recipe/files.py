"""Resolved recipes as YAML: what is stored with every cell can be run again from that file."""

from __future__ import annotations

from pathlib import Path

import yaml

from interplay.errors import InterplayError
from interplay.recipe.changes import validate
from interplay.recipe.reading import SetTwice, read_yaml
from interplay.recipe.tree import Recipe


def to_yaml(recipe: Recipe) -> str:
    """The complete tree as YAML, in the order of the fields."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def from_yaml(text: str, source: str = "recipe") -> Recipe:
    """The recipe written in `text`.

    Raises:
        InterplayError: if `text` is not a YAML mapping, sets a key twice, or is not a recipe.
    """
    try:
        tree = read_yaml(text)
    except SetTwice as error:
        raise InterplayError(f"{source}: {error}") from None
    except yaml.YAMLError as error:
        raise InterplayError(f"{source} is not YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(tree, dict):
        raise InterplayError(f"{source} holds no recipe: expected a mapping such as 'model: {{family: vit}}'")
    return validate(tree)


def read_recipe(path: Path) -> Recipe:
    """The recipe stored at `path`."""
    if not path.is_file():
        raise InterplayError(f"there is no recipe file {path}")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InterplayError(f"{path} is not YAML: it is no UTF-8 text; give a recipe.yaml") from None
    return from_yaml(text, source=str(path))
