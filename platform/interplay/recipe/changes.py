"""Changes: a mapping from dotted recipe paths to values, applied with every path and value checked."""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Union

import yaml
from pydantic import BaseModel, ValidationError

from interplay.errors import InterplayError, closest
from interplay.recipe.catalogue import architecture
from interplay.recipe.reading import SetTwice, read_yaml
from interplay.recipe.tree import Recipe, Seeds

ALL_SEEDS = "seed"

_NAMED_FREELY = {"evaluation.also": "dataset", "model.options": ""}
"""Mappings whose keys a person chooses, and the field that a plain value there is short for."""


def apply_changes(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """`recipe` with each dotted path set to its value.

    `seed` sets all seeds of the last stage, `after.seed` those of the one before. `model` may be the name of an
    architecture of the thesis, `cait_s24`. Setting `model.scale` before `model.scale.init` is done whatever their
    order in `changes`. Values may be plain data or parts: `{"optimiser": Lamb(lr=5e-3)}`.

    Raises:
        InterplayError: for a path the recipe does not have, naming the closest valid ones, and for a value
            that the path does not take.
    """
    tree = recipe.model_dump(mode="json")
    for path in sorted(changes, key=lambda p: p.count(".")):
        value = changes[path]
        if path == "model" and isinstance(value, str):
            value = architecture(value)
        value = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
        *stages, leaf = path.split(".")
        if leaf == ALL_SEEDS and set(stages) <= {"after"}:
            path, value = ".".join([*stages, "seeds"]), dict.fromkeys(Seeds.model_fields, value)
        _set(tree, path, value)
    return validate(tree)


def validate(tree: Mapping[str, Any]) -> Recipe:
    """A recipe from plain data.

    Raises:
        InterplayError: one sentence for the first thing that is wrong.
    """
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        raise InterplayError(_sentence(error)) from None


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """`["model.drop_path=0.2"]` as a change; values are read as YAML.

    Raises:
        InterplayError: for an assignment without `=` or a value that is not YAML.
    """
    changes: dict[str, Any] = {}
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals or not path.strip():
            raise InterplayError(f"-s {assignment!r} is not of the form path=value, as in -s model.drop_path=0.1")
        try:
            changes[path.strip()] = read_yaml(text)
        except SetTwice as error:
            raise InterplayError(f"-s {path.strip()}: {error}") from None
        except yaml.YAMLError:
            raise InterplayError(f"-s {path.strip()}: {text!r} is not a YAML value; quote it") from None
    return changes


def difference(old: Recipe, new: Recipe) -> dict[str, Any]:
    """What `new` has at the paths where it differs from `old` (None where it has none), names and seeds left out."""
    before, after = flatten(old), flatten(new)
    keys = [*after, *(k for k in before if k not in after)]
    kept = [k for k in keys if k != "name" and not k.startswith("seeds.")]
    return {k: after.get(k) for k in kept if k not in before or before[k] != after.get(k)}


def flatten(recipe: Recipe) -> dict[str, Any]:
    """The resolved recipe as dotted paths to plain values."""

    def walk(node: Any, prefix: str) -> Iterator[tuple[str, Any]]:
        if isinstance(node, dict):
            for key, child in node.items():
                yield from walk(child, f"{prefix}.{key}" if prefix else key)
        else:
            yield prefix, node

    return dict(walk(recipe.model_dump(mode="json"), ""))


@functools.cache
def valid_paths() -> tuple[str, ...]:
    """Every dotted path some recipe has, over all kinds."""
    return tuple(sorted({ALL_SEEDS, f"after.{ALL_SEEDS}", *_paths(Recipe, "")}))


def _set(tree: dict[str, Any], path: str, value: Any) -> None:
    *parents, leaf = path.split(".")
    node: Any = tree
    for depth, key in enumerate(parents):
        named = isinstance(node, dict) and isinstance(node.get(key), str)
        if named and f"{'.'.join(parents[: depth + 1])}.kind" in valid_paths():
            node[key] = {"kind": node[key]}  # a kind set by its name, with a field of it set too
        elif named and (field := _NAMED_FREELY.get(_of_a_stage(parents[:depth]))):
            node[key] = {field: node[key]}
        if not isinstance(node, dict) or key not in node:
            raise InterplayError(_no_such_path(path))
        node = node[key]
    if not isinstance(node, dict):
        raise InterplayError(_no_such_path(path))
    if leaf not in node:
        known = path in valid_paths()
        kind = node.get("kind", node.get("family"))
        if known and kind is not None and leaf not in ("kind", "family"):
            parent = ".".join(parents)
            owners = sorted(_kinds_with(parent, leaf))
            if str(kind) not in owners:
                wanted = " or ".join(owners)
                raise InterplayError(
                    f"{path}: {parent} is {kind!r}, which has no {leaf!r}; choose {parent}={wanted} as well"
                )
        elif not known and not {_of_a_stage(parents), _of_a_stage(parents[:-1])} & _NAMED_FREELY.keys():
            raise InterplayError(_no_such_path(path))
    node[leaf] = value


def _of_a_stage(parents: list[str]) -> str:
    """The path within the recipe of whichever stage it is in."""
    return ".".join(parents).replace("after.", "")


@functools.cache
def _no_such_path(path: str) -> str:
    near = closest(path, (p for p in valid_paths() if p != path))
    return f"recipes have no {path!r}{near or '; see interplay recipe show'}"


def _members(annotation: Any) -> list[type[BaseModel]]:
    """The parts an annotation allows: itself, or the members of a (possibly annotated) union."""
    if typing.get_origin(annotation) is Annotated:
        return _members(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (Union, types.UnionType):
        return [part for arg in typing.get_args(annotation) for part in _members(arg)]
    return [annotation] if isinstance(annotation, type) and issubclass(annotation, BaseModel) else []


def _paths(part: type[BaseModel], prefix: str, inside: tuple[type[BaseModel], ...] = ()) -> Iterator[str]:
    """A recipe may stand within a recipe (an earlier stage): one such level is listed."""
    for name, field in part.model_fields.items():
        path = f"{prefix}.{name}" if prefix else name
        yield path
        for member in _members(field.annotation):
            if inside.count(member) < 1:
                yield from _paths(member, path, (*inside, part))


def _kinds_with(parent: str, leaf: str) -> Iterator[str]:
    """Names of the kinds at `parent` that have the field `leaf`."""
    members: list[type[BaseModel]] = [Recipe]
    for key in parent.split("."):
        members = [
            m for part in members if key in part.model_fields for m in _members(part.model_fields[key].annotation)
        ]
    for member in members:
        if leaf in member.model_fields:
            tag = member.model_fields.get("kind", member.model_fields.get("family"))
            if tag is not None:
                yield str(tag.default)


def _sentence(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    where = ".".join(str(p) for p in first["loc"])
    path = next((p for p in _untagged(first["loc"]) if p in valid_paths()), where)
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    if first["type"] == "extra_forbidden" and path != ALL_SEEDS and path in valid_paths():
        return _of_another_kind(path, str(first["loc"][-2]))
    if first["type"] == "extra_forbidden":
        return _no_such_path(path if path != where else ".".join(_without_tags(first["loc"])))
    if first["type"] in ("union_tag_invalid", "literal_error"):
        expected = str(first["ctx"].get("expected_tags", first["ctx"].get("expected", "")))
        got = first["ctx"].get("tag", first["input"])
        names = [n.strip(" '") for n in expected.replace(" or ", ",").split(",")]
        return f"{path}={got!r} is not one of {expected}{closest(str(got), names)}"
    if first["type"] == "missing":
        few = isinstance(first["loc"][-1], int)
        return f"{path}={first['input']!r} has too few values" if few else f"{path} must be set"
    if first["type"] == "union_tag_not_found":
        return f"{path}={first['input']!r} does not say which {first['ctx']['discriminator']} it is; add it"
    if first["type"] in ("model_type", "model_attributes_type"):
        field = next((p for p in valid_paths() if p.startswith(f"{path}.")), path)
        return f"{path}={first['input']!r} is not a mapping of its fields; set one of them, such as {field}"
    return f"{path}={first['input']!r}: {first['msg'][0].lower()}{first['msg'][1:]}"


def _of_another_kind(path: str, kind: str) -> str:
    """A valid field that the chosen kind lacks: what is left over when only `kind` or `family` was changed."""
    parent, _, leaf = path.rpartition(".")
    tag = "family" if f"{parent}.family" in valid_paths() else "kind"
    return f"{path}: {parent} is {kind!r}, which has no {leaf!r}; set {parent} as a whole: {parent}={{{tag}: {kind}}}"


def _without_tags(loc: tuple[int | str, ...]) -> list[str]:
    """An error's location without the union tags pydantic puts into it."""
    kept: list[str] = []
    for key in map(str, loc):
        if ".".join([*kept, key]) in valid_paths() or key is str(loc[-1]):
            kept.append(key)
    return kept


def _untagged(loc: tuple[int | str, ...]) -> Iterator[str]:
    yield ".".join(map(str, loc))
    yield ".".join(_without_tags(loc))
