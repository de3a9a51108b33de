# SPDX-License-Identifier: Apache-2.0
import pytest

from siri_verl.envs.replies import REFERENCE, ActionRules, parse_reply


@pytest.mark.parametrize(
    "text, action, valid, problem",
    [
        ("<think>a</think><action> Click[Buy Now] </action>", "click[buy now]", True, None),
        ("<think>a</think><action>one</action><action>two</action>", "one", True, None),
        ("<action>one</action>", "", False, "no_think_tags"),
        ("<think>a</think> click[x]", "", False, "no_action_tags"),
        ("<think>a</think><action>never closed", "", False, "no_action_tags"),
        ("<think>\u4f60</think><action>one</action>", "", False, "cjk"),
        ("", "", False, "no_action_tags"),
    ],
)
def test_replies_under_the_rules_of_webshop_and_alfworld(text, action, valid, problem):
    reply = parse_reply(text, ActionRules(**REFERENCE))
    assert (reply.action, reply.valid, reply.problem) == (action, valid, problem)


@pytest.mark.parametrize("action", ["Go North", "answer[Paris]", "\u5411\u5317\u8d70", "print('A')\n", "\u0130"])
def test_without_rules_an_action_arrives_as_written(action):
    reply = parse_reply(f"<think>a \u4f60</think><action> {action}\n</action>")
    assert (reply.action, reply.valid) == (action.strip(), True)


def test_rules_come_from_the_info_of_reset():
    assert ActionRules.of({}) == ActionRules()
    assert ActionRules.of({"action_rules": {"lower_case": True}}) == ActionRules(lower_case=True)


@pytest.mark.parametrize("stated", [{"lower": True}, {"lower_case": "yes"}, "lower_case"])
def test_rules_that_are_not_known_are_refused(stated):
    with pytest.raises(ValueError, match="action_rules.*use a dict with bools under lower_case and refuse_cjk"):
        ActionRules.of({"action_rules": stated})
