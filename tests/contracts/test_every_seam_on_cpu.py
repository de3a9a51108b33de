# SPDX-License-Identifier: Apache-2.0
"""What the contracts say when verl moves: every seam is broken on purpose, and the sentence is read."""

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest
from support.seam_contract import check_seam

from siri_verl import doctor
from siri_verl.seams.every import every_seam
from siri_verl.seams.seam import Seam, problem, resolve

SEAMS = every_seam()
# every class has a constructor
REMOVABLE = re.compile(r":.*(?<!__init__)$").search


def owner_and_name(seam):
    """The object that holds what the seam names, and its name there."""
    module, _, path = seam.target.partition(":")
    inside, _, name = path.rpartition(".")
    owner = resolve(f"{module}:{inside}") if inside else importlib.import_module(module)
    return owner, name


def changed(parameters):
    """A callable that takes one more parameter."""
    return eval(f"lambda {', '.join([*parameters, 'something_new'])}: None")


def message_of(seam):
    with pytest.raises(AssertionError) as caught:
        check_seam(seam)
    return str(caught.value).splitlines()[0]


@pytest.mark.parametrize("seam", [s for s in SEAMS if REMOVABLE(s.target)], ids=lambda seam: seam.target)
def test_a_seam_that_is_gone_is_named_with_our_file_and_what_to_change(seam, monkeypatch):
    assert problem(seam) is None
    owner, name = owner_and_name(seam)
    for holder in inspect.getmro(owner) if inspect.isclass(owner) else (owner,):
        if name in vars(holder):
            monkeypatch.delattr(holder, name)
    text = message_of(seam)
    assert text.startswith(f"{seam.target} is gone (") and text.endswith(f"in {seam.used_by}: {seam.advice}")


@pytest.mark.parametrize("seam", [s for s in SEAMS if s.parameters is not None], ids=lambda seam: seam.target)
def test_a_seam_that_takes_something_else_is_named_with_what_it_takes(seam, monkeypatch):
    owner, name = owner_and_name(seam)
    monkeypatch.setattr(owner, name, changed(seam.parameters))
    text = message_of(seam)
    assert text.startswith(f"{seam.target} takes (") and "something_new" in text
    assert f"expected ({', '.join(seam.parameters)})" in text and f"in {seam.used_by}: {seam.advice}" in text


@pytest.mark.parametrize("seam", [s for s in SEAMS if s.source], ids=lambda seam: seam.target)
def test_a_seam_that_does_something_else_is_named_with_the_line_it_lacks(seam, monkeypatch):
    whole = inspect.getsource
    for line in seam.source:
        monkeypatch.setattr(inspect, "getsource", lambda found, line=line: whole(found).replace(line, "pass"))
        text = message_of(seam)
        assert text == f"{seam.target} no longer contains `{line}`; in {seam.used_by}: {seam.advice}"
        monkeypatch.setattr(inspect, "getsource", whole)


def test_every_seam_is_listed_once_and_names_a_file_of_ours_and_an_advice():
    root = Path(doctor.__file__).parents[1]
    listed = [(seam.target, seam.used_by) for seam in SEAMS]
    assert len(set(listed)) == len(listed)
    for seam in SEAMS:
        assert (root / seam.used_by).is_file(), f"{seam.target}: {seam.used_by} does not exist"
        assert len(seam.advice) > 10, seam


def test_the_doctor_shows_all_of_them_in_one_table(monkeypatch):
    found = list(doctor.seams())
    assert {finding.name for finding in found} == {seam.used_by for seam in SEAMS}
    assert {finding.section for finding in found} == {"seams"} and all(finding.ok for finding in found)
    counts = [re.fullmatch(r"(\d+) of (\d+) as expected", finding.value).groups() for finding in found]
    assert sum(int(right) for right, _ in counts) == sum(int(total) for _, total in counts) == len(SEAMS)
    broken = next(seam for seam in SEAMS if "set_loss_fn" in seam.target)
    of_platform = next(seam for seam in SEAMS if "_detect_platform_name" in seam.target)
    for seam in (broken, of_platform):
        owner, name = owner_and_name(seam)
        monkeypatch.delattr(owner, name)
    wrong = {finding.name: finding.value for finding in doctor.seams() if finding.ok is False}
    assert set(wrong) == {broken.target, of_platform.target} and broken.advice in wrong[broken.target]


def test_every_assertion_of_the_contracts_carries_a_sentence():
    for path in sorted(Path(__file__).parent.glob("test_*_seams_on_cpu.py")):
        asserts = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Assert)]
        assert asserts and all(node.msg is not None for node in asserts), path.name


def test_a_module_can_be_a_seam():
    seam = Seam("verl.no_such_module", None, "ours.py", "do this")
    assert problem(seam) == "verl.no_such_module is gone (No module named 'verl.no_such_module'); in ours.py: do this"
