"""What every node of a recipe is made of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError


def _no_switch(value: Any) -> Any:
    """YAML reads `yes` and `on` as true, which Python would take for the number 1."""
    if isinstance(value, bool):
        raise PydanticCustomError("switch", "input should be a number, not true or false")
    return value


Real = Annotated[float, BeforeValidator(_no_switch)]
Whole = Annotated[int, BeforeValidator(_no_switch)]
Probability = Annotated[Real, Field(ge=0.0, le=1.0)]
Rate = Annotated[Real, Field(ge=0.0, lt=1.0)]
Positive = Annotated[Whole, Field(gt=0)]


class Part(BaseModel):
    """A node of the tree: frozen, no unknown fields, no NaN.

    `not_identity`: fields that do not change a result, such as a name, or a path whose content is hashed.
    """

    not_identity: ClassVar[frozenset[str]] = frozenset()
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _kind_by_name(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value


ByName = BeforeValidator(_kind_by_name)


LAST_CHECKPOINT = Path("checkpoint", "last.pt")
"""Where a cell's folder keeps what a restart, or another training, starts from."""


def checkpoint_file(path: Path) -> Path:
    """The file itself, or the last checkpoint of a cell's folder."""
    return path / LAST_CHECKPOINT if path.is_dir() else path


def file_content(key: str, field: str, find: Callable[[Path], Path] = Path.expanduser) -> Any:
    """A validator: fills in the digest of the file under `key`, and its absolute path; see `of_this_content`.

    Args:
        key: of the part's own field; where it is empty nothing is filled in.
        field: as a person writes it.
        find: from what was given to the file.
    """

    def fill_in(cls: type[Part], tree: Any) -> Any:
        given = tree.get(key) if isinstance(tree, dict) else None
        if not isinstance(given, str) or not given:
            return tree
        path = find(Path(given))
        if not path.is_file():
            raise ValueError(f"{field}={str(path)!r} is not a file")
        return of_this_content({**tree, key: str(path.resolve())}, path, field=field)

    return model_validator(mode="before")(fill_in)


def of_this_content(tree: dict[str, Any], path: Path, *, field: str) -> dict[str, Any]:
    """`tree` with the digest of the file at `path`: the fingerprint holds the content, not the path.

    Raises:
        ValueError: if the file has changed since the digest in `tree` was taken.
    """
    digest = short_digest(path)
    if tree.get("digest") not in (None, "", digest):
        raise ValueError(
            f"{field}: {path} has changed since this recipe was resolved; restore it, or start from the new one"
        )
    return {**tree, "digest": digest}


def short_digest(path: Path) -> str:
    """16 hexadecimal digits of the SHA-256 of a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def manifest_digest(beton: Path, field: str) -> str:
    """The digest of a `.beton` that its manifest states; the file itself may be large.

    Raises:
        ValueError: if there is no such file, or it has no manifest.
    """
    if beton.suffix != ".beton" or not beton.is_file():
        raise ValueError(
            f"{field}: there is no data set {beton}; write one with interplay data write SOURCE FILE.beton"
        )
    try:
        return str(json.loads(beton.with_name(beton.name + ".json").read_text(encoding="utf-8"))["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        raise ValueError(f"{field}: {beton} has no manifest beside it; write it with interplay data write") from None
