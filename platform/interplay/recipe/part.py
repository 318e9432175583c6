"""What every node of a recipe is made of."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
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


def file_content(tree: dict[str, Any], path: Path, *, key: str, field: str) -> dict[str, Any]:
    """`tree` with the absolute `path` under `key` and the digest of its content; see `of_this_content`.

    Raises:
        ValueError: if there is no such file, or it has changed.
    """
    if not path.is_file():
        raise ValueError(f"{field}={str(path)!r} is not a file")
    return of_this_content({**tree, key: str(path.resolve())}, path, field=field)


def of_this_content(tree: dict[str, Any], path: Path, *, field: str) -> dict[str, Any]:
    """`tree` with the digest of the file at `path`: the fingerprint holds the content, not the path.

    Raises:
        ValueError: if the file has changed since the digest in `tree` was taken.
    """
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    if tree.get("digest") not in (None, "", digest):
        raise ValueError(
            f"{field}: {path} has changed since this recipe was resolved; restore it, or start from the new one"
        )
    return {**tree, "digest": digest}
