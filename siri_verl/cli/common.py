# SPDX-License-Identifier: Apache-2.0
"""What all commands of `siri-verl` share: console, errors, and options made from a dataclass."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, fields
from typing import Annotated, Any, Optional, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperGroup

from siri_verl import __version__
from siri_verl.files import parse_json
from siri_verl.settings.texts import field_texts
from siri_verl.terminal import Terminal, labelled

# Typer has its own copy of click in newer versions.
ClickException = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")

TRACEBACK = "SIRI_TRACEBACK"
"""Environment variable; 1 shows the traceback of an exception that ends a command."""


class OneLineErrors(TyperGroup):
    """All commands: an exception that a command does not handle ends it with one line and exit code 1."""

    def invoke(self, ctx: typer.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort, ClickException, BrokenPipeError):
            raise  # Typer handles them, a closed pipe among them
        except Exception as error:
            if os.environ.get(TRACEBACK, "0") not in ("", "0"):
                raise
            # A message of our own names field, value and fix; another one may need its class and its place.
            if type(error).__module__.startswith("siri_verl."):
                raise fail(error) from error
            message = " ".join(f"{type(error).__name__}: {error}".split())
            raise fail(f"{message} ({TRACEBACK}=1 shows where)") from error


app = typer.Typer(cls=OneLineErrors, no_args_is_help=True, pretty_exceptions_enable=False)
console = Terminal()
if not console.is_terminal and "COLUMNS" not in os.environ:
    # A file or a pipe has no width; tables cut to 80 columns would lose their cells.
    console.width = 180

Settings = Annotated[
    Optional[list[str]], typer.Option("--set", help="A setting of the environment, as key=value; the value is JSON.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
RUNS = "Run folders (trainer.default_local_dir), or .jsonl files of verl's file logger."
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what an earlier call wrote there.")]


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"siri_verl {__version__}")
        raise typer.Exit


@app.callback()
def version(
    asked: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """SIRI for unmodified verl."""


def fail(message: object) -> typer.Exit:
    """Print what is wrong on standard error. Returns the exception to raise."""
    Terminal(stderr=True).print(labelled("error", "red", message), soft_wrap=True, highlight=False)
    return typer.Exit(1)


def parse_settings(pairs: Sequence[str] | None) -> dict[str, Any]:
    """`["a=1", "b=text"]` -> {"a": 1, "b": "text"}.

    Raises:
        typer.BadParameter: a pair without an equals sign.
    """
    settings: dict[str, Any] = {}
    for pair in pairs or []:
        key, sign, value = pair.partition("=")
        if not sign or not key:
            raise typer.BadParameter(f"--set {pair!r}: expected key=value")
        try:
            settings[key] = parse_json(value)
        except ValueError:
            settings[key] = value
    return settings


def options(schema: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorator: the command's parameter of type `schema`, a dataclass, becomes one option per field.

    Name, type and default are the field's, the help text is the string under it. A mapping is read from repeated
    `key=value`, a sequence from a repeated option. A field's metadata may have

        names     the option's names, for example ("--repeats", "-n")
        argument  True: an argument of the command, not an option
        hidden    True: not offered; the default holds
        read      a function from the text to an element of a sequence

    A value that the dataclass refuses with a ValueError ends the command with its message.
    """
    texts, kinds = field_texts(schema), get_type_hints(schema)
    offered = [field for field in fields(schema) if not field.metadata.get("hidden")]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command, eval_str=True).parameters
        place = next(name for name, parameter in own.items() if parameter.annotation is schema)

        @functools.wraps(command)
        def run(**given: Any) -> None:
            try:
                values = {field.name: _read(field, given.pop(field.name)) for field in offered}
                asked = schema(**{name: value for name, value in values.items() if value is not None})
            except ValueError as error:
                raise fail(error) from error
            command(**given, **{place: asked})

        made = []
        for name, parameter in own.items():
            if name == place:
                made += [_parameter(field, kinds[field.name], texts[field.name][1]) for field in offered]
            else:
                made.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
        run.__signature__ = inspect.Signature(made)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in made}
        return run

    return decorate


def _parameter(field: Field, kind: Any, text: str) -> inspect.Parameter:
    """The field as Typer's parameter."""
    default: Any = inspect.Parameter.empty if field.default is field.default_factory is MISSING else field.default
    element = str if "read" in field.metadata else _element(kind)
    if element is not None:
        kind, default = Optional[list[element]], None
    names = field.metadata.get("names", ())
    if kind is bool and not names:
        names = (f"--{field.name.replace('_', '-')}",)  # without Typer's --no-...
    info = typer.Argument(help=text) if field.metadata.get("argument") else typer.Option(*names, help=text or None)
    return inspect.Parameter(
        field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, info]
    )


def _element(kind: Any) -> Any:
    """Type of the elements of a sequence, text for those of a mapping; None for any other type."""
    for part in (kind, *get_args(kind)):
        if get_origin(part) is Mapping:
            return str
        if get_origin(part) in (tuple, Sequence):
            return get_args(part)[0]
    return None


def _read(field: Field, value: Any) -> Any:
    """The field's value from Typer's; None leaves the default."""
    if not isinstance(value, list):
        return value
    if field.default_factory is dict:
        return parse_settings(value)
    read = field.metadata.get("read")
    return tuple(value if read is None else map(read, value)) or None
