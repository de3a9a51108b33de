# SPDX-License-Identifier: Apache-2.0
import random
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from siri_verl.envs.base import EpisodeOverError
from siri_verl.envs.webshop.session import Session, parse_action

TASK = "i want a shirt"
SHIRT, SOCK, HAT = "B000000001", "B000000002", "B000000003"


def start(shop, *actions, **changes):
    session = Session(shop, TASK, lambda product, options: 0.25 * (1 + len(options)), **changes)
    for action in actions:
        assert session.act(action), (action, session.admissible_actions)
    return session


def to_item(shop, asin, *actions, **changes):
    title = shop[asin].title
    return start(shop, f"search[{title}]", f"click[{asin.lower()}]", *actions, **changes)


@pytest.mark.parametrize(
    ("action", "parsed"),
    [
        ("search[red shoes]", ("search", "red shoes")),
        (" Click[Buy Now]", ("click", "buy now")),
        ("click[a[b]c]", ("click", "a[b]c")),
        ("search[  two   words ]", ("search", "two words")),
        ("search[]", None),
        ("click[  ]", None),
        ("buy[now]", None),
        ("please click[buy now]", None),
        ("click buy now", None),
        ("", None),
    ],
)
def test_actions_are_read(action, parsed):
    assert parse_action(action) == parsed


def test_original_text_of_every_page(shop):
    header = f"Instruction: [SEP] {TASK} [SEP] Back to Search"
    session = start(shop, text="original")
    assert session.observation == f"WebShop [SEP] Instruction: [SEP] {TASK} [SEP] Search"
    session = start(shop, "search[plain shirt]", text="original")
    parts = session.observation.split(" [SEP] ")
    assert parts[:5] == ["Instruction:", TASK, "Back to Search", "Page 1 (Total results: 24)", "Next >"]
    first = shop[parts[5]]
    assert parts[5:8] == [first.asin, first.title, first.price_tag] and len(parts) == 5 + 30
    session.act("click[next >]")
    assert session.observation.startswith(
        f"{header} [SEP] Page 2 (Total results: 24) [SEP] < Prev [SEP] Next > [SEP] B0"
    )
    item = (
        f"{header} [SEP] < Prev [SEP] size [SEP] small [SEP] x-large [SEP] color [SEP] navy | blue [SEP] white [SEP] "
        "Blue Oxford Shirt [SEP] Price: $19.99 to $27.99 [SEP] Rating: N.A. [SEP] Description [SEP] Features [SEP] "
        "Reviews [SEP] Buy Now"
    )
    session = to_item(shop, SHIRT, text="original")
    assert session.observation == item
    session.act("click[small]")
    assert session.observation == item, "the original's item page does not show what was chosen"
    session.act("click[description]")
    assert session.observation == f"{header} [SEP] < Prev [SEP] A shirt of cotton."
    session = to_item(shop, SHIRT, "click[features]", text="original")
    assert session.observation == f"{header} [SEP] < Prev [SEP] Machine wash [SEP] Long sleeve"
    session = to_item(shop, SHIRT, "click[reviews]", text="original")
    assert session.observation == f"{header} [SEP] < Prev [SEP] No reviews found"
    session = to_item(shop, SHIRT, "click[buy now]", text="original")
    assert session.observation.startswith("Thank you for shopping with us! [SEP] ")
    assert session.observation.endswith("Your score (min 0.0, max 1.0) [SEP] 0.25")


def test_rich_text_marks_choices_and_leaves_the_instruction_to_the_prompt(shop):
    session = to_item(shop, SHIRT, "click[navy | blue]", "click[small]", "click[x-large]")
    assert "small [SEP] x-large (chosen) [SEP] color [SEP] navy | blue (chosen) [SEP] white" in session.observation
    assert TASK not in session.observation


def test_compact_text_says_what_is_needed_to_act(shop):
    session = start(shop, "search[plain shirt]", text="compact", results_per_page=4)
    assert session.observation.splitlines()[0] == "results 1 of 6"
    for asin in session.page.shown:
        assert asin.lower() in session.observation
    session = to_item(shop, SHIRT, "click[small]", text="compact")
    for action in session.admissible_actions:
        assert action.removeprefix("click[").removesuffix("]") in session.observation
    assert session.observation == session.observation.lower()
    assert len(session.observation.split()) < 45


def test_admissible_actions_come_as_buttons_products_options(shop):
    assert start(shop).admissible_actions == ["search[<your query>]"]
    buttons = ["click[back to search]", "click[< prev]"]
    item = to_item(shop, SHIRT)
    assert item.admissible_actions == buttons + [
        *("click[description]", "click[features]", "click[reviews]", "click[buy now]"),
        *("click[small]", "click[x-large]", "click[navy | blue]", "click[white]"),
    ]
    item.act("click[reviews]")
    assert item.admissible_actions == buttons
    results = start(shop, "search[plain shirt]")
    assert results.admissible_actions[:2] == ["click[back to search]", "click[next >]"]
    assert results.admissible_actions[2:] == [f"click[{asin.lower()}]" for asin in results.page.hits[:10]]
    results.act("click[next >]")
    results.act("click[next >]")
    assert results.admissible_actions[:2] == ["click[back to search]", "click[< prev]"]
    assert len(results.admissible_actions) == 2 + 4 and not results.act("click[next >]")


def test_the_way_back(shop):
    session = start(shop, "search[plain shirt]", "click[next >]")
    second = session.observation
    asin = session.page.shown[0]
    for action in (f"click[{asin.lower()}]", "click[description]", "click[< prev]", "click[< prev]"):
        assert session.act(action)
    assert session.observation == second and session.page.number == 2
    session.act("click[< prev]")
    assert session.page.number == 1
    session.act("click[back to search]")
    assert session.observation == "WebShop [SEP] Search"


def test_going_back_to_results_forgets_choices_but_sub_pages_do_not(shop):
    session = to_item(shop, SHIRT, "click[small]", "click[features]", "click[< prev]")
    assert dict(session.page.options) == {"size": "small"}
    session.act("click[< prev]")
    session.act(f"click[{SHIRT.lower()}]")
    assert session.page.options == ()


def test_searching_works_on_every_page_and_resets_the_item(shop):
    for actions in ((), ("click[small]",), ("click[features]",)):
        session = to_item(shop, SHIRT, *actions)
        assert session.act("search[wool sock]")
        assert session.page.kind == "results"
        assert session.page.asin is None
        assert session.page.options == ()


def test_query_commands_of_the_original_are_plain_words(shop):
    for command in ("<r>", "<a> cotton", "<c> fashion", "<q> socks"):
        session = start(shop, f"search[{command}]")
        assert list(session.page.hits) == shop.search(command)
        assert session.page.query == command
    assert start(shop, "search[<r>]").page.hits == ()


def test_what_names_nothing_on_the_page_does_nothing(shop):
    session = to_item(shop, SHIRT)
    before = session.page
    for action in (
        "click[next >]",
        f"click[{SOCK.lower()}]",
        "click[red]",
        "click[search]",
        "search[ ]",
        "",
        "buy now",
    ):
        assert not session.act(action) and session.page is before
    assert not start(shop).act("click[buy now]")
    assert not start(shop, "search[zzzz]").act("click[next >]")


ODD = ["think[ok]", "click[search]", "search[", "search[x", "click[]", "click[[[]]]", "\x00", "click[\x00]"]
QUERIES = [
    *('"red" and (shirt or "hat"~2)', "title: shirt^4 +cotton -wool", "sh?rt* [a to z]", "the of and"),
    *("\U0001f600", "\x00", "<r>", "]", "\u5411\u5317\u8d70", "word " * 5000 + "shirt"),
]


@pytest.mark.parametrize("action", ODD)
def test_what_is_no_action_does_nothing_on_any_page(shop, action):
    for session in (start(shop), start(shop, "search[shirt]"), to_item(shop, SHIRT)):
        before = session.observation
        assert not session.act(action) and session.observation == before


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query[:10])
def test_any_query_is_a_bag_of_words(shop, query):
    session = start(shop, f"search[{query}]")
    words = " ".join(re.findall(r"\w+", query))
    assert session.page.kind == "results" and list(session.page.hits) == shop.search(words)
    assert bool(session.page.hits) == ("sh" in query and "?" not in query), "words that stand in no product find none"


def test_odd_option_values(shop):
    session = to_item(shop, HAT, "click[features]")
    assert session.page.kind == "features", "a button's label always means the button"
    session.act("click[< prev]")
    assert session.act("click[tall hat]") and session.act("click[a[b]c]")
    assert dict(session.page.options) == {"kind": "a[b]c"}
    session.act("click[two]")
    assert dict(session.page.options) == {"kind": "a[b]c", "brim size": "two"}, "the last name wins, as in the original"


def test_buying_ends_the_session_with_the_score_of_what_was_chosen(shop):
    bought = []
    session = Session(shop, TASK, lambda product, options: bought.append((product.asin, options)) or 0.5)
    for action in ("search[oxford]", f"click[{SHIRT.lower()}]", "click[white]", "click[small]", "click[white]"):
        assert session.act(action)
    assert session.act("click[buy now]")
    assert session.done
    assert session.page.score == 0.5
    assert bought == [(SHIRT, {"color": "white", "size": "small"})]
    assert session.admissible_actions == []
    with pytest.raises(EpisodeOverError):
        session.act("search[more]")


def test_state_anchors_tell_apart_what_the_original_text_does_not(shop):
    plain, small = to_item(shop, SHIRT, text="original"), to_item(shop, SHIRT, "click[small]", text="original")
    assert plain.observation == small.observation and plain.anchor != small.anchor
    order = to_item(shop, SHIRT, "click[white]", "click[small]"), to_item(shop, SHIRT, "click[small]", "click[white]")
    assert order[0].anchor == order[1].anchor
    aliased = [to_item(shop, SHIRT, *a, text="original", anchor="observation") for a in ((), ("click[small]",))]
    assert aliased[0].anchor == aliased[1].anchor == aliased[0].observation


def test_wrong_settings_are_named(shop):
    with pytest.raises(ValueError, match="text: got 'html'; known text modes: original, rich, compact"):
        start(shop, text="html")
    with pytest.raises(ValueError, match="anchor: got 'page'"):
        start(shop, anchor="page")
    with pytest.raises(ValueError, match="results_per_page: got 0"):
        start(shop, results_per_page=0)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), text=st.sampled_from(["original", "rich", "compact"]), per_page=st.integers(1, 12))
def test_random_walks(shop, seed, text, per_page):
    """Every offered action works; equal anchors mean equal pages and equal offers; rich text tells all states apart."""
    rng = random.Random(seed)
    session = start(shop, text=text, results_per_page=per_page)
    seen = {}
    for _ in range(40):
        offers = session.admissible_actions
        state = (session.observation, tuple(offers))
        assert seen.setdefault(session.anchor, state)[1] == state[1]
        if text != "compact":  # compact lists choices in their order, which the anchor leaves out
            assert seen[session.anchor] == state
        action = rng.choice(offers)
        if action.startswith("search"):
            action = f"search[{rng.choice(['shirt', 'oxford', 'sock', 'hat', 'zzzz'])}]"
        assert session.act(action)
        if session.done:
            assert action == "click[buy now]"
            return


def test_choices_of_a_compact_page_are_told_apart(shop):
    """The original makes "navy | blue" of "navy/blue"; bars stand between the choices of a compact page."""
    session = to_item(shop, SHIRT, text="compact")
    assert "color : navy / blue | white" in session.observation.split("\n")
    assert {"click[navy / blue]", "click[white]"} < set(session.admissible_actions)
    for action in ("click[navy / blue]", "click[navy | blue]"):
        assert session.act("click[white]") and session.act(action)
        assert session.page.options == (("color", "navy | blue"),)
        assert "chosen : navy / blue" in session.observation.split("\n")
