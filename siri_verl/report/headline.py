# SPDX-License-Identifier: Apache-2.0
"""What the runs show, in a few sentences with intervals: the head of the page."""

from __future__ import annotations

from collections.abc import Sequence

from siri_verl.report.comparisons import Difference, difference_of_points
from siri_verl.report.curve import SUCCESS
from siri_verl.report.methods import Method
from siri_verl.report.reader import Run
from siri_verl.report.retests import Retest
from siri_verl.report.statistics import Estimate, final_success


def headline(methods: Sequence[Method], differences: Sequence[Difference]) -> list[str]:
    """The sentences: of one run, how its validation changed; of several, each method and the differences."""
    runs = [run for method in methods for run in method.runs]
    if len(runs) == 1:
        return _one_run(runs[0])
    sentences = []
    for method in methods:
        estimate = final_success(method)
        if estimate is not None:
            seeds = f", mean of {estimate.n} seeds" if estimate.n > 1 else ", one run"
            sentences.append(f"{method.name}: {_measure(method.runs)} {_value(estimate)} at the end{seeds}.")
    sentences += [_difference(difference) for difference in differences]
    return sentences or ["No run validated, so there is no result to compare."]


def _one_run(run: Run) -> list[str]:
    if not run.curve:
        return ["The run has no validation, so its success is unknown."]
    first, last = run.curve[0], run.curve[-1]
    prompt = "with skills in the prompt" if run.shows_skills_in_validation else "without skills in the prompt"
    where = f" {prompt}" if run.measure == SUCCESS else ""
    count = f", {last.episodes} episodes per validation" if last.episodes else ""
    end = f"{_number(last.success)}{_ends(last.low, last.high)} at step {last.step}{count}"
    if first.step == last.step:
        sentences = [f"Validation {_measure([run])}{where}: {end}."]
    else:
        change = difference_of_points(last, first)
        start = f"{_number(first.success)}{_ends(first.low, first.high)} at step {first.step}"
        sentences = [
            f"Validation {_measure([run])}{where} went from {start} to {end}: a change of {_value(change, sign=True)}, "
            f"{_verdict(change)}."
        ]
    counts = run.bank_counts
    internalized = f", {counts['internalized']} internalized" if counts["internalized"] else ""
    if counts["mined"]:
        sentences.append(
            f"{counts['mined']} skills entered the bank, {counts['promoted']} were promoted, {counts['active']} are "
            f"active{internalized}; {len(run.evidence)} paired groups tested them."
        )
    return sentences


def retest_sentences(retests: Sequence[Retest]) -> list[str]:
    """What the skills change on fresh tasks, for each model they were tested again on."""
    return [
        f"On fresh tasks, skills in the prompt change the success of the {retest.policy} by "
        f"{retest.overall['effect']:+.3f} ({retest.overall['low']:+.3f} to {retest.overall['high']:+.3f}, "
        f"{retest.overall['pairs']} pairs)."
        for retest in retests
        if retest.overall.get("pairs")
    ]


def _difference(d: Difference) -> str:
    how = {True: f"paired over seeds {', '.join(map(str, d.seeds))}", False: d.success.method or "no interval"}
    return f"{d.first} minus {d.second}: {_value(d.success, sign=True)} ({how[bool(d.seeds)]}), {_verdict(d.success)}."


def _verdict(change: Estimate) -> str:
    """Whether the interval excludes 0."""
    if change.low is None or change.high is None:
        return "of unknown uncertainty"
    if change.low > 0:
        return "an interval above 0"
    return "an interval below 0" if change.high < 0 else "an interval that contains 0"


def _measure(runs: Sequence[Run]) -> str:
    names = sorted({run.measure.rpartition("/")[2] for run in runs if run.curve})
    return " or ".join(names)


def _value(e: Estimate, sign: bool = False) -> str:
    text = f"{e.mean:+.3f}" if sign else _number(e.mean)
    return text if e.low is None or e.high is None else text + _ends(e.low, e.high, sign)


def _ends(low: float, high: float, sign: bool = False) -> str:
    if low != low:
        return ""
    return f" ({low:+.3f} to {high:+.3f})" if sign else f" ({_number(low)} to {_number(high)})"


def _number(value: float) -> str:
    return f"{value:.3f}"
