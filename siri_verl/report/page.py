# SPDX-License-Identifier: Apache-2.0
"""The page: a filled Jinja template with style and script inside. Texts of models and environments are escaped."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from siri_verl.report.content import Report, RunPart
from siri_verl.report.statistics import Estimate

_PATH = re.compile(r"(?<![\w./…])/(?:[\w.@+~-]+/)+[\w.@+~-]*")
TEMPLATES = files("siri_verl.report") / "templates"


def render(report: Report) -> str:
    """The report as one HTML page that refers to nothing outside itself."""
    environment = Environment(
        loader=FunctionLoader(lambda name: (TEMPLATES / name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "signed": signed,
        "mean": mean,
        "ends": ends,
        "whole": whole,
        "span_words": span_words,
        "command": command,
        "shortened": without_places,
        "spark": spark,
        "phase": lambda name: name.replace("_", "-"),
    }
    return environment.get_template("report.html.j2").render(
        report=report,
        style=Markup((TEMPLATES / "style.css").read_text(encoding="utf-8")),
        script=Markup((TEMPLATES / "browser.js").read_text(encoding="utf-8")),
        trajectories=inside_script(report.browser.trajectories),
        prompts=inside_script({part.run.name: _prompts(part) for part in report.parts}),
    )


def inside_script(value: Any) -> Markup:
    """JSON for a script element; characters that could end the element are escaped."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(text)


def _prompts(part: RunPart) -> list[dict[str, Any]]:
    return [
        {
            "step": p.step,
            "task": p.task_id,
            "skill": p.skill_id,
            "plain": p.plain_prompt,
            "plain_reply": p.plain_reply,
            "shown": list(p.skill_prompt),
            "skill_reply": p.skill_reply,
        }
        for p in part.prompts
    ]


def number(value: float | None, digits: int = 3) -> str:
    """A share without its leading zero: `.557`, `1.000`; a dash for None."""
    if value is None:
        return "–"
    text = f"{value:.{digits}f}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def signed(value: float | None, digits: int = 2) -> str:
    """A number with its sign; a dash for None."""
    if value is None:
        return "–"
    return f"{value:+.{digits}f}".replace("+0.", "+.").replace("-0.", "−.").replace("-", "−")


def mean(estimate: Estimate | None, sign: bool = False) -> str:
    """The mean of an estimate; a dash for None."""
    if estimate is None:
        return "–"
    return signed(estimate.mean, 3) if sign else number(estimate.mean)


def ends(estimate: Estimate, sign: bool = False) -> str:
    """The ends of its interval."""
    low, high = (signed(end, 3) if sign else number(end) for end in (estimate.low, estimate.high))
    return f"{low} to {high}"


def whole(value: float | None) -> str:
    """A count with separators: `31,925`; means over seeds with one digit."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def span_words(ends: tuple[float, float] | None) -> str:
    """The smallest and the largest of several numbers, or the one they all are."""
    if ends is None:
        return "–"
    low, high = ends
    return whole(low) if low == high else f"{whole(low)} to {whole(high)}"


def spark(values: Sequence[float], scale: float) -> str:
    """The points of an SVG line of 130 x 34 pixels through these values; 0 is in the middle, `scale` at the top."""
    step = 126 / max(len(values) - 1, 1)
    return " ".join(f"{2 + i * step:.1f},{17 - 15 * value / scale:.1f}" for i, value in enumerate(values))


def without_places(text: str) -> str:
    """A text with the last two parts of every absolute path: the rest names folders of one machine."""
    return _PATH.sub(lambda found: "/".join(["…", *found[0].rstrip("/").split("/")[-2:]]), text)


def command(text: str | None) -> str:
    """A command line, one argument per line where it is long; paths of the machine are shortened."""
    if not text:
        return "not known"
    if len(text) < 100:
        return text
    try:
        words = shlex.split(text)
    except ValueError:
        return text
    lines, line = [], ""
    for word in map(shlex.quote, words):
        if line and len(line) + len(word) > 96:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return " \\\n    ".join([*lines, line])
