"""How every room declares its settings, and how they are read and changed."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, cast

from pydantic import BaseModel, ConfigDict, ValidationError

from selfseg.errors import UsageError


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
            path = ".".join(str(part) for part in first["loc"])
            raise UsageError(f"{origin}: {path}: {_explain(first)}") from None

    @classmethod
    def read(cls, path: Path) -> Self:
        """Parse a TOML file; a misspelt key is an error that names the file and the key."""
        try:
            return cls.parse(tomllib.loads(path.read_text()), origin=str(path))
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"{path}: not TOML: {error}") from None

    def override(self, changes: Mapping[str, Any]) -> Self:
        """Return a copy with dotted paths replaced, e.g. {"optim.learning_rate": 3e-4}.

        The command line, Ray Tune and the tests all change settings through here, so every
        value is validated the same way wherever it came from.
        """
        tree = self.model_dump(mode="json")
        for path, value in changes.items():
            *parents, leaf = path.split(".")
            node = tree
            for parent in parents:
                child: Any = node.get(parent)
                if not isinstance(child, dict):
                    raise UsageError(f"setting {path}: {'.'.join(parents)} holds no settings")
                node = cast(dict[str, Any], child)
            node[leaf] = value
        return type(self).parse(tree, origin="setting")


def parse_change(text: str) -> tuple[str, object]:
    """Split "path=value"; the value is TOML, or a plain string if it is not."""
    path, equals, value = text.partition("=")
    if not (path and equals):
        raise UsageError(f"--set {text}: expected a.b=value")
    try:
        return path, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return path, value


def _explain(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        return "no such setting"
    if error["type"] == "missing":
        return "this setting has no default and must be given"
    return f"{error['msg']}, not {error['input']!r}"
