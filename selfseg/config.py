"""How every room declares its settings, and how they are read and changed."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, Self, cast

from pydantic import BaseModel, ConfigDict, ValidationError

from selfseg.errors import UsageError

NULL = "null"
"""A value that some settings may have, for which TOML has no word."""


class Config(BaseModel):
    """Settings of one component: immutable, complete, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @classmethod
    def parse(cls, tree: Mapping[str, Any], *, origin: str) -> Self:
        """Validate `tree`.

        Raises:
            UsageError: one line that names `origin`, the first wrong key's path and why.
        """
        try:
            return cls.model_validate(dict(tree))
        except ValidationError as error:
            first = error.errors()[0]
            path = ".".join(_path(tree, first["loc"]))
            named = f"{origin}: {path}" if path else origin
            raise UsageError(f"{named}: {_explain(first)}") from None

    @classmethod
    def read(cls, path: Path) -> Self:
        """Parse a TOML file; a misspelt key is an error that names the file and the key."""
        return cls.parse(read_tree(path), origin=str(path))

    def override(self, changes: Mapping[str, Any]) -> Self:
        """Return a copy with dotted paths replaced, e.g. {"optim.learning_rate": 3e-4}.

        The command line, Ray Tune and the tests all change settings through here, so every
        value is validated the same way wherever it came from.
        """
        tree = changed(self.model_dump(mode="json"), changes, origin="setting")
        return type(self).parse(tree, origin="setting")


def read_tree(path: Path) -> dict[str, Any]:
    """Read a TOML file's tables as they are.

    Raises:
        UsageError: there is none, or it is something else.
    """
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not TOML: {error}") from None


def laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return `below` with the values of `above`; a table in both is laid over key by key."""
    merged = dict(below)
    for key, value in above.items():
        old: Any = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            merged[key] = laid_over(cast(dict[str, Any], old), cast(dict[str, Any], value))
        else:
            merged[key] = value
    return merged


def changed(tree: Mapping[str, Any], changes: Mapping[str, Any], *, origin: str) -> dict[str, Any]:
    """Return `tree` with what lies at dotted paths replaced.

    Raises:
        UsageError: a path leads through something that is no table.
    """
    result = deepcopy(dict(tree))
    for path, value in changes.items():
        *parents, leaf = path.split(".")
        node = result
        for parent in parents:
            child: Any = node.get(parent)
            if not isinstance(child, dict):
                raise UsageError(f"{origin} {path}: {'.'.join(parents)} holds no settings")
            node = cast(dict[str, Any], child)
        node[leaf] = value
    return result


def dotted(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every setting by its dotted path, e.g. "loop.steps"."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from dotted(cast(Mapping[str, Any], value), f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def parse_change(text: str) -> tuple[str, object]:
    """Split "path=value"; the value is TOML, null, or a plain string if it is neither."""
    path, equals, value = text.partition("=")
    if not (path and equals):
        raise UsageError(f"--set {text}: expected a.b=value")
    if value == NULL:
        return path, None
    try:
        return path, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return path, value


def parse_workers(text: str) -> tuple[int, int]:
    """Return the fewest and the most workers that "N" or "FEWEST:MOST" asks for.

    >>> parse_workers("4"), parse_workers("1:4")
    ((4, 4), (1, 4))
    """
    fewest, colon, most = text.partition(":")
    try:
        counts = int(fewest), int(most if colon else fewest)
    except ValueError:
        raise UsageError(f"--workers {text}: expected a number, or FEWEST:MOST") from None
    if not 1 <= counts[0] <= counts[1]:
        raise UsageError(f"--workers {text}: at least one worker must train, and at most MOST")
    return counts


def _path(tree: Mapping[str, Any], location: Sequence[int | str]) -> Iterator[str]:
    """Name the keys on the way to an error; the tag of a union lies on it but is no key."""
    node: Any = tree
    for part in location:
        inside = cast(dict[str, Any], node) if isinstance(node, dict) else dict[str, Any]()
        if part in inside or inside.get("name") != part:
            node = inside.get(str(part))
            yield str(part)


def _explain(error: Any) -> str:
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    if error["type"] == "extra_forbidden":
        return "no such setting"
    if error["type"] == "missing":
        return "this setting has no default and must be given"
    return f"{error['msg']}, not {error['input']!r}"
