"""YAML in which no key is set twice: YAML itself keeps the last of two values, and says nothing."""

from __future__ import annotations

from typing import Any

import yaml


class SetTwice(yaml.YAMLError):
    """A key is set twice; the message names it, its line and the fix."""


class _Loader(yaml.SafeLoader):
    pass


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[str] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        if key.value in seen:
            raise SetTwice(f"{key.value!r} is set twice, again in line {key.start_mark.line + 1}; remove one of them")
        seen.add(key.value)
    loader.flatten_mapping(node)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read_yaml(text: str) -> Any:
    """Plain data from YAML.

    Raises:
        SetTwice: if a key is.
        yaml.YAMLError: if it is not YAML.
    """
    return yaml.load(text, Loader=_Loader)  # a subclass of the safe one
