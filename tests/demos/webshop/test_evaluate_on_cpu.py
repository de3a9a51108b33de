# SPDX-License-Identifier: Apache-2.0
"""The evaluation helper, with a scripted player in the model's place: what it measures is known beforehand."""

import re

import pytest

from siri_verl.demos.warm_start.evaluate import describe, play_tasks, shown_procedure, skill_matrix, success_by_category
from siri_verl.demos.warm_start.rows import reply_text
from siri_verl.demos.webshop.demo import DEMO
from siri_verl.demos.webshop.phrases import STRATEGIES
from siri_verl.demos.webshop.procedures import PROCEDURES, facts, observed_procedure
from siri_verl.demos.webshop.settings import demo_env
from siri_verl.demos.webshop.views import read_page, read_task
from siri_verl.demos.webshop.words import department_of


class ScriptedPlayer:
    """Follows the skill block to the letter, buys at once without one, and describes what it sees."""

    def answer(self, prompts, max_new_tokens=32):
        return [self.describe(p) if p.startswith("describe\n") else self.act(p) for p in prompts]

    def act(self, prompt):
        skill = re.match(r"skill: When .+?: (.+)\n", prompt)
        task, page = re.search(r"task: (.+)\n", prompt)[1], prompt.split("page: ")[1]
        did = re.search(r"did: (.+)\n", prompt)
        procedure = PROCEDURES[DEMO.named_procedure(skill[1]) if skill else "buy_at_once"]
        wanted, view = read_task(task), read_page(page)
        return reply_text(facts(wanted, view), procedure(wanted, view, did[1].split(" ; ") if did else []))

    def describe(self, prompt):
        place = department_of(prompt.split("\n")[1])
        return f"condition: shopping for the {place} strategy: {STRATEGIES['buy_at_once'][0]}"


def test_a_player_that_follows_skills_wins_where_the_matrix_says(catalogue, env):
    tasks = env.catalog.split("demo").validation[::4]
    table = skill_matrix(ScriptedPlayer(), DEMO, lambda: demo_env(catalogue), tasks)
    assert table["second_page"]["pets"] == table["precise_query"]["office"] == table["take_cheapest"]["garden"] == 1.0
    assert table["second_page"]["kitchen"] == table["buy_at_once"]["closet"] == 0.0
    assert all(row["followed"] >= 0.9 for row in table.values())


def test_plain_play_and_description_are_counted(catalogue, env):
    tasks = env.catalog.split("demo").validation[::4]
    episodes = play_tasks(ScriptedPlayer(), DEMO, lambda: demo_env(catalogue), tasks)
    plain = success_by_category(DEMO, episodes)
    assert plain["kitchen"] == 1.0 and plain["office"] == plain["pets"] == 0.0
    assert all(all(t.valid for t in e.turns) and shown_procedure(DEMO, e) == "buy_at_once" for e in episodes)
    said = describe(ScriptedPlayer(), DEMO, episodes)
    assert said["well_formed"] == said["right_procedure"] == said["right_condition"] == 1.0


@pytest.mark.parametrize(
    ("actions", "pages"), [([], []), (["search[a b]"], ["search page"]), (["click[buy now]"], ["item $3.0 a\nx\ny"])]
)
def test_unfinished_or_shapeless_episodes_show_no_procedure(actions, pages):
    assert observed_procedure(actions, [read_page(p) for p in pages]) is None


def test_pages_and_tasks_of_elsewhere_are_refused():
    with pytest.raises(ValueError, match="no compact WebShop page"):
        read_page("Instruction: [SEP] buy")
    with pytest.raises(ValueError, match="names no attribute"):
        read_task("i need a harbor mug")
