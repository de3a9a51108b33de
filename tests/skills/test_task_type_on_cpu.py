# SPDX-License-Identifier: Apache-2.0
"""Task types from task texts."""

from __future__ import annotations

import pytest

from siri_verl.skills.task_type import TaskTypeSettings, head_noun, regex_typer, task_typer


@pytest.mark.parametrize(
    "text, noun",
    [
        ("i am looking for women's long sleeve dresses with pockets, and price lower than 50.00 dollars", "dress"),
        ("Find me easy carry, high quality refillable containers with rose gold", "container"),
        ("i need a foldable harbor mug for my kitchen , in red and small", "mug"),
        ("can you find me two AA batteries that last", "battery"),
        ("I would like to buy a pair of shoes", "shoe"),
        ("looking for a city lamp in the office section", "lamp"),
        ("", "other"),
        ("for in on", "other"),
        ("12345", "other"),
    ],
)
def test_head_noun(text, noun):
    assert head_noun(text) == noun


@pytest.mark.parametrize(
    "text, kind",
    [
        ("put a clean mug in shelf.", "pick_clean_then_place_in_recep"),
        ("heat some egg and put it in diningtable.", "pick_heat_then_place_in_recep"),
        ("cool some bread and put it in countertop.", "pick_cool_then_place_in_recep"),
        ("put two cd in safe.", "pick_two_obj_and_place"),
        ("find two cup and put them in microwave.", "pick_two_obj_and_place"),
        ("examine the alarmclock with the desklamp.", "look_at_obj_in_light"),
        ("look at pillow under the floorlamp.", "look_at_obj_in_light"),
        ("put a vase in coffeetable.", "pick_and_place_simple"),
        ("put some egg on microwave.", "pick_and_place_simple"),
        ("put a bread in fridge.", "pick_and_place_simple"),
        ("Place a chilled tomato on the counter.", "pick_cool_then_place_in_recep"),
        ("Microwave a potato and put it in the fridge.", "pick_heat_then_place_in_recep"),
        ("Turn on the lamp while holding the clock.", "look_at_obj_in_light"),
    ],
)
def test_alfworld_table(text, kind):
    assert task_typer(TaskTypeSettings(kind="alfworld"))(text) == kind


@pytest.mark.parametrize(
    "text, kind",
    [
        ("Find me machine wash men's t-shirts with long sleeve", "clothing"),
        ("Find me easy install wall sconces for living room", "home"),
        ("i need a gluten free granola bar", "food"),
        ("Find me high speed usb cables", "electronics"),
        ("Find me cruelty free, long lasting makeup palettes", "beauty"),
        ("something nice", "other"),
    ],
)
def test_webshop_table(text, kind):
    assert task_typer(TaskTypeSettings(kind="webshop"))(text) == kind


def test_own_table_first_match_wins():
    table = {"garden": r"\b(?:rake|hose)\b", "kitchen": r"\b(?:mug|pan)\b"}
    typer = task_typer(TaskTypeSettings(kind="regex", table=table))
    assert [typer(t) for t in ("a red Mug", "a rake and a mug", "a pantry")] == ["kitchen", "garden", "other"]


def test_single_and_own_function():
    assert task_typer(TaskTypeSettings(kind="single"))("anything") == "all"
    assert task_typer(TaskTypeSettings(kind="siri_verl.skills.task_type:singular"))("mugs") == "mug"


def test_demo_departments_are_read_by_a_function_of_the_text():
    typer = task_typer(TaskTypeSettings(kind="siri_verl.demos.webshop.words:department_of"))
    assert typer("i need a quiet harbor mug for my kitchen") == "kitchen"
    assert typer("something for no department") == "other"


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(kind="cluster"), "siri.task_type.kind='cluster': use head_noun"),
        (dict(kind="regex"), "siri.task_type.table: empty"),
        (dict(kind="regex", table={"a": "("}), "siri.task_type.table.a='\\('"),
        (dict(kind="no.such.module:f"), "cannot be imported"),
        (dict(kind="siri_verl.skills.task_type:nothing"), "cannot be imported"),
        (dict(kind="siri_verl.skills.task_type:OTHER"), "is a str, not a function"),
    ],
)
def test_bad_settings_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        task_typer(TaskTypeSettings(**options))


def test_an_own_function_must_answer_with_a_name():
    with pytest.raises(ValueError, match="answered 3"):
        task_typer(TaskTypeSettings(kind="builtins:len"))("abc")


def test_an_empty_table_is_refused():
    with pytest.raises(ValueError, match="empty"):
        regex_typer({})


def test_texts_without_a_latin_word_share_one_type_and_one_warning(caplog):
    typer = task_typer(TaskTypeSettings())
    texts = (
        "\u628a\u676f\u5b50\u653e\u8fdb\u51b0\u7bb1",
        "\u628a\u4e66\u653e\u5728\u684c\u4e0a",
        "\u043d\u0430\u0439\u0434\u0438 \u043a\u0440\u0443\u0436\u043a\u0443",
    )
    assert {typer(text) for text in texts} == {"other"}
    assert caplog.text.count("no word in Latin script") == 1
    assert typer("find me a caf\u00e9 table") == "table"
    assert typer("find me a caf\u00e9") == "caf\u00e9"
