"""Config files: Python with plain names, checked against a typed dataclass before anything runs.

    config = load_config("xception-conf.py", XceptionConfig, ["batch_size=64", "precision=bf16"])

What a field may say of itself, in its `metadata`: `path` (True: the value is a path, or a tuple of them),
`words` (values of a path field that are no path), `bare` (True: a file name without a folder is left as it
is), `path_at` (in a list of tuples, the place of the path), `dead` (True: accepted for the sake of old files,
without effect).
A schema's class attribute PRESETS, {name: {choice: {key: value}}}, has names that stand for several keys;
ALIASES, {name: key}, has other names of keys.
"""

from __future__ import annotations

import ast
import difflib
import math
import os
import re
import traceback
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, asdict, fields
from pathlib import Path
from typing import Any, TypeVar

from utils.core.errors import ConfigError
from utils.core.shortage import is_short

ROOT = Path(__file__).resolve().parents[2]
COMMAND_LINE = "command line"
T = TypeVar("T")


def load_config(path: str | Path | None, schema: type[T], overrides: Sequence[str] = ()) -> T:
    """The config of the file `path` (None: the schema's defaults), changed by `key=value` overrides.

    Relative paths are taken from the repository root in a file and in a default, from the current folder
    in an override. A preset counts less than the keys beside it, an override's more than the file's keys.
    Raises ConfigError, one line that names the key and the file, for an unknown or missing
    key, a value of the wrong type or range, a missing file and a Python error in it.
    """
    known = {field.name: field for field in fields(schema)}
    presets = getattr(schema, "PRESETS", {})
    hints = typing.get_type_hints(schema)
    values: dict[str, Any] = {}
    aliases = getattr(schema, "ALIASES", {})
    from_file = {} if path is None else _execute(Path(path))
    from_file = {aliases.get(key, key): value for key, value in from_file.items()}
    values |= _preset_values(from_file, presets, str(path))
    for key, value in from_file.items():
        _check_known(key, [*known, *presets], str(path))
        if key in known:
            values[key] = _resolve(_checked(key, value, hints[key], str(path)), known[key], ROOT)
    given = [_split_override(text) for text in overrides]
    given = [(aliases.get(key, key), raw) for key, raw in given]
    chosen = {key: _parsed(key, raw, str) for key, raw in given if key in presets}
    values |= _preset_values(chosen, presets, COMMAND_LINE)
    for key, raw in given:
        _check_known(key, [*known, *presets], COMMAND_LINE)
        if key in known:
            values[key] = _resolve(_parsed(key, raw, hints[key]), known[key], Path.cwd())
    for key, field in known.items():
        if key not in values:
            values[key] = _resolve(_default(field, path), field, ROOT)
    try:
        return schema(**values)
    except ConfigError as error:
        named = set(re.findall(r"\w+", str(error)))  # an error may be about two keys
        overridden = any(key in named for key, _ in given)
        raise ConfigError(f"{COMMAND_LINE if overridden or path is None else path}: {error}") from None


def describe(config: Any) -> str:
    """The whole config, one `key = value` a line; keys without effect are shown only where set, and named."""
    lines = []
    for field in fields(config):
        value = getattr(config, field.name)
        if not field.metadata.get("dead"):
            lines.append(f"{field.name} = {value!r}")
        elif field.name in dead_keys(config):
            lines.append(f"{field.name} = {value!r}  (without effect)")
    return "\n".join(lines)


def list_keys(schema: type) -> str:
    """The schema's keys with their types and defaults, one a line; those without effect are left out."""
    hints, lines = typing.get_type_hints(schema), []
    for field in fields(schema):
        default = "  (needed)" if field.default is MISSING else f" = {field.default!r}"
        if not field.metadata.get("dead"):
            lines.append(f"  {field.name}: {_name(hints[field.name])}{default}")
    return "\n".join(lines)


def dead_keys(config: Any) -> list[str]:
    """The keys that are set to something but have no effect."""
    dead = [field for field in fields(config) if field.metadata.get("dead")]
    return [field.name for field in dead if getattr(config, field.name) != field.default]


def as_plain(config: Any) -> dict[str, Any]:
    """The config as dicts, lists, numbers and strings: what a checkpoint or a JSON file can hold."""
    return _plain(asdict(config))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _execute(path: Path) -> dict[str, Any]:
    """The plain names that the Python file leaves; private names and modules are its own affair."""
    if path.exists() and not path.is_file():
        raise ConfigError(f"{path}: a config file is needed; this is a folder or no regular file")
    try:
        source = path.read_bytes()
    except OSError as error:
        if is_short(error):
            raise
        raise ConfigError(f"{path}: can't read this config file ({error.strerror or error})") from None
    names: dict[str, Any] = {"__file__": str(path), "__name__": "config"}
    try:
        exec(compile(source, str(path), "exec"), names)
    except (Exception, SystemExit) as error:  # whatever the user's own code raises, he is told where
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        line = error.lineno if isinstance(error, SyntaxError) else frames[-1].lineno if frames else None
        where = f"{path}, line {line}" if line else str(path)
        what = error.msg if isinstance(error, SyntaxError) else " ".join(str(error).split())
        raise ConfigError(f"{where}: {type(error).__name__}: {what}") from None
    return {
        key: value
        for key, value in names.items()
        if not key.startswith("_") and not isinstance(value, types.ModuleType) and key != "annotations"
    }


def _split_override(text: str) -> tuple[str, str]:
    key, equals, raw = text.partition("=")
    if not equals or not key.isidentifier():
        raise ConfigError(f"{COMMAND_LINE}: {text!r} is not key=value")
    return key, raw


def _preset_values(given: dict[str, Any], presets: dict[str, dict], origin: str) -> dict[str, Any]:
    """The keys and values that the presets among `given` stand for."""
    values: dict[str, Any] = {}
    for name in presets.keys() & given.keys():
        choice = given[name]
        if choice not in list(presets[name]):
            raise ConfigError(f"{origin}: {name} must be one of {', '.join(presets[name])}; got {choice!r}")
        values |= presets[name][choice]
    return values


def _check_known(key: str, known: Sequence[str], origin: str) -> None:
    if key not in known:
        near = difflib.get_close_matches(key, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
        raise ConfigError(f"{origin}: unknown key {key!r}; {hint}")


def _default(field: Field, path: str | Path | None) -> Any:
    if field.default is not MISSING:
        return field.default
    if field.default_factory is not MISSING:
        return field.default_factory()
    raise ConfigError(f"{path or COMMAND_LINE}: the key {field.name!r} is missing")


def _parsed(key: str, raw: str, hint: Any) -> Any:
    """An override's value: a Python literal, or the text itself where that is what the key takes."""
    try:
        value = ast.literal_eval(raw)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        value = raw
    try:
        return _fit(value, hint)
    except TypeError:
        return _checked(key, raw, hint, COMMAND_LINE, shown=value)


def _checked(key: str, value: Any, hint: Any, origin: str, shown: Any = None) -> Any:
    try:
        return _fit(value, hint)
    except TypeError:
        got = shown if shown is not None else value
        raise ConfigError(f"{origin}: {key} must be {_name(hint, _WORDS)}; got {got!r}") from None


def _fit(value: Any, hint: Any) -> Any:
    """`value` as the type `hint` (int passes for float, list for tuple and back); TypeError if it isn't."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        for choice in sorted(arguments, key=lambda choice: choice is not type(value)):
            try:
                return _fit(value, choice)
            except TypeError:
                continue
        raise TypeError
    if origin in (tuple, list):
        if not isinstance(value, list | tuple):
            raise TypeError
        if origin is tuple and arguments[-1] is not Ellipsis:
            if len(value) != len(arguments):
                raise TypeError
            return tuple(_fit(item, choice) for item, choice in zip(value, arguments, strict=True))
        return origin(_fit(item, arguments[0]) for item in value)
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise TypeError
    return value


def _name(hint: Any, words: Mapping[Any, str] | None = None) -> str:
    """The type as Python has it, `int`, `str or None`, or in `words`: "a whole number or None"."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_name(choice, words) for choice in arguments)
    if words and origin is tuple and arguments[-1] is not Ellipsis:
        return f"({', '.join(_name(item, words) for item in arguments)})"
    if words and origin in (tuple, list):
        return f"a list whose items are each {_name(arguments[0], words)}"
    if hint is types.NoneType:
        return "None"
    return (words or {}).get(hint) or (str(hint) if origin else hint.__name__)


_WORDS = {
    int: "a whole number", float: "a number", bool: "True or False", str: "a text",
}  # fmt: skip


def _resolve(value: Any, field: Field, base: Path) -> Any:
    """The value with its paths made absolute, as the field's metadata asks."""
    if isinstance(value, str) and field.metadata.get("path"):
        bare = field.metadata.get("bare") and os.path.basename(value) == value
        return value if bare or value in field.metadata.get("words", ()) else _absolute(value, base)
    if isinstance(value, tuple) and field.metadata.get("path"):
        return tuple(_absolute(item, base) for item in value)
    place = field.metadata.get("path_at")
    if place is not None and value is not None:
        return [
            tuple(_absolute(part, base) if at == place else part for at, part in enumerate(item))
            for item in value
        ]
    return value


def _absolute(path: str, base: Path) -> str:
    try:
        return os.path.normpath(base / Path(path).expanduser())
    except RuntimeError:  # of a user who isn't there
        raise ConfigError(f"the path {path!r} begins with the home folder of an unknown user") from None


def check_choice(config: Any, key: str, allowed: tuple[str, ...]) -> None:
    """The key must have one of the values."""
    value = getattr(config, key)
    if value not in allowed:
        raise ConfigError(f"{key} must be one of {', '.join(allowed)}; got {value!r}")


def check_range(config: Any, keys: str, low: float, high: float = math.inf) -> None:
    """Each of the space-separated keys must lie in [low, high]; None is left alone."""
    for key in keys.split():
        value = getattr(config, key)
        if value is not None and not low <= value <= high:
            bounds = f"at least {low}" if high == math.inf else f"between {low} and {high}"
            raise ConfigError(f"{key} must be {bounds}; got {value!r}")
