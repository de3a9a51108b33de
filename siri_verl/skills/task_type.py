# SPDX-License-Identifier: Apache-2.0
"""Task types: which tasks a skill is tested on and shown for, derived from the text of the plain prompt alone.

What an environment knows and the agent does not see (WebShop's category and query, ALFWorld's game file) must not
decide here: a skill that is retrieved by hidden facts would carry them into the prompt.
"""

from __future__ import annotations

import importlib
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

logger = logging.getLogger(__name__)

TaskTyper = Callable[[str], str]
"""Task text -> name of its type."""

OTHER = "other"

_OPENERS = re.compile(
    r"^(?:(?:hi|hello|please|i\W?m|i am|i|we|you|me|us|to|would|could|can|like|love|want|need|looking|look|for|find|get"
    r"|buy|finding|buying|show|help|search|searching|shopping|interested|in|purchase|order|some|any|a|an|the|my|our|pair|pack"
    r"|set|of|kind|new)\b[\s,:]*)+",
    re.IGNORECASE,
)
_BREAK = re.compile(
    r"[;:.!?()\[\]]|\b(?:with|without|that|which|or|for|in|on|at|from|to|under|below|between|made|has|have|is|are|it|size"
    r"|colou?r|by|into|using|of|and price|and color|and size)\b",
    re.IGNORECASE,
)
# Words in Latin script. The rule is English; a sentence in a script without blanks would be one long word.
_WORD = re.compile(r"[a-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u1e00-\u1eff]{3,}")


@dataclass
class TaskTypeSettings:
    """How a task text becomes a task type."""

    kind: str = "head_noun"
    """`head_noun`: the thing asked for, by a rule for English; a text without a word in Latin script is of type
    `other`; `webshop`, `alfworld`: the types that this environment states (five
    kinds of goods, six kinds of household tasks); `regex`: the table below; `single`: one type for all; or a dotted
    path `package.module:function` to a function from task text to type name."""
    table: dict[str, str] = field(default_factory=dict)
    """`regex`: type name -> regular expression, searched for in the task text without regard to case; the first that
    matches names the type, none gives `other`."""


def task_typer(settings: TaskTypeSettings) -> TaskTyper:
    """The function that names task types, with its answers cached.

    Raises:
        ValueError: the kind is unknown, a pattern does not compile, or a dotted path leads nowhere.
    """
    if settings.kind == "single":
        return lambda text: "all"
    if settings.kind == "head_noun":
        return lru_cache(maxsize=65536)(_head_noun_typer())
    if settings.kind == "regex":
        return lru_cache(maxsize=65536)(regex_typer(settings.table))
    if ":" in settings.kind:
        return _typer_of_function(settings.kind)
    # Imported here: it loads gymnasium, and the settings' class above is imported by processes that need no types.
    import siri_verl.envs.registry as registry

    tables = registry.task_type_patterns()
    if settings.kind in tables:
        return lru_cache(maxsize=65536)(regex_typer(_load(tables[settings.kind])))
    raise ValueError(
        f"siri.task_type.kind={settings.kind!r}: use head_noun, {', '.join(tables)}, regex, single, or a path "
        "package.module:function"
    )


def regex_typer(table: Mapping[str, str]) -> TaskTyper:
    """A typer from a table of type name -> regular expression; earlier entries win.

    Raises:
        ValueError: the table is empty or a pattern does not compile.
    """
    if not table:
        raise ValueError("siri.task_type.table: empty; kind=regex needs at least one type: regular expression")
    compiled: list[tuple[str, re.Pattern[str]]] = []
    for name, pattern in table.items():
        try:
            compiled.append((name, re.compile(pattern, re.IGNORECASE)))
        except re.error as error:
            raise ValueError(f"siri.task_type.table.{name}={pattern!r}: not a regular expression ({error})") from error

    def typer(text: str) -> str:
        return next((name for name, pattern in compiled if pattern.search(text)), OTHER)

    return typer


def head_noun(text: str) -> str:
    """The thing a request asks for: the last word of its first noun phrase, in the singular.

    A rule without a dictionary: polite openers are skipped, the phrase ends at the first preposition or relative
    pronoun, and "women's long dresses" is about dress. Texts without such a phrase, and those without a word in Latin
    script, are of type `other`.
    """
    rest = _OPENERS.sub("", text.strip().lower(), count=1)
    phrase = _BREAK.split(rest, maxsplit=1)[0]
    words = _WORD.findall(phrase)
    return singular(words[-1]) if words else OTHER


def _head_noun_typer() -> TaskTyper:
    """`head_noun`, with one warning where it cannot work."""
    warned = False

    def typer(text: str) -> str:
        nonlocal warned
        name = head_noun(text)
        if not warned and name == OTHER and not _WORD.search(text.lower()):
            warned = True
            logger.warning(
                "siri.task_type.kind='head_noun': the task %r has no word in Latin script, so it is of type %r, which "
                "all such tasks share; use kind=regex with a table, single, or a path package.module:function",
                *(text[:60], OTHER),
            )
        return name

    return typer


def singular(word: str) -> str:
    """A plain English singular: shirts -> shirt, dresses -> dress, batteries -> battery."""
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if re.search(r"(?:ss|sh|ch|x|z)es$", word):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 3:
        return word[:-1]
    return word


def _load(path: str) -> Any:
    """The object that `module:name` names.

    Raises:
        ValueError: there is no such module or name.
    """
    module, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"siri.task_type.kind={path!r}: cannot be imported ({error})") from error


def _typer_of_function(path: str) -> TaskTyper:
    function = _load(path)
    if not callable(function):
        raise ValueError(f"siri.task_type.kind={path!r}: is a {type(function).__name__}, not a function")

    def typer(text: str) -> str:
        answer = function(text)
        if answer is None:
            return OTHER
        if not isinstance(answer, str) or not answer:
            raise ValueError(
                f"siri.task_type.kind={path!r}: answered {answer!r} for {text[:60]!r}; a type is non-empty text"
            )
        return answer

    return typer
