# SPDX-License-Identifier: Apache-2.0
"""The report's page in a real browser, offline, at desktop and phone width.

Needs Chromium and playwright, which are no requirement of the project: `pip install playwright`, and `apt-get install
chromium` or `playwright install chromium`.
"""

import shutil

import pytest
from support.report_run import NASTY, make_run, make_trajectories, write_prompts

from siri_verl.report.build import write_report
from siri_verl.trajectory.file import append_trajectories

playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")


@pytest.fixture(scope="module")
def chromium():
    with playwright.sync_playwright() as started:
        try:
            browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        except playwright.Error as error:
            pytest.skip(f"no Chromium: {error.message.splitlines()[0]}")
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    runs = [make_run(folder / f"{m}_1", method=m, steps=20) for m in ("siri", "gigpo")]
    write_prompts(runs[0], [20], NASTY)
    append_trajectories(runs[0] / "trajectories.jsonl", make_trajectories(1, [30], NASTY))
    return write_report(runs, folder / "out")


@pytest.fixture(params=[(1280, 900), (390, 844)], ids=["desktop", "phone"])
def page(request, chromium, page_file):
    width, height = request.param
    context = chromium.new_context(viewport={"width": width, "height": height}, offline=True)
    opened, problems = context.new_page(), []
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    opened.on("dialog", lambda dialog: (problems.append("a dialog"), dialog.dismiss()))
    opened.on("request", lambda r: None if r.url.startswith(("data:", "file:")) else problems.append(r.url))
    opened.goto(page_file.as_uri())
    yield opened
    assert not problems
    context.close()


def test_nothing_is_wider_than_the_screen_and_every_picture_is_drawn(page):
    root = "document.documentElement"
    assert page.evaluate(f"{root}.scrollWidth") <= page.evaluate(f"{root}.clientWidth")
    for tab in page.get_by_role("tab").all():
        tab.click()
        assert page.locator("[role=tabpanel]:visible").count() == 1
        assert page.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 100)")


def test_the_browser_of_trajectories_is_worked_by_keys(page):
    total = page.locator("#list .item").count()
    assert total > 20 and page.locator("#count").inner_text() == f"{total} of {total}"
    page.locator("#list").focus()
    chosen = page.locator("#list [aria-selected=true]")
    first = chosen.get_attribute("id")
    for keys, expected in ((["ArrowDown", "j"], 2), (["k"], 1), (["End"], total - 1), (["Home"], 0)):
        for key in keys:
            page.keyboard.press(key)
        assert chosen.get_attribute("id") == f"item-{expected}"
    assert first == "item-0"
    before = page.locator("#detail .soft").first.inner_text()
    page.keyboard.press("n")
    later = page.locator("#detail .soft").first.inner_text()
    assert before != later, "the same task, later"
    assert "bath-validation" in before, "the same task, later"
    assert "bath-validation" in later, "the same task, later"
    page.keyboard.press("/")
    page.keyboard.type("closet")
    assert 0 < page.locator("#list .item").count() < total
    page.select_option("select[data-filter=arm]", "skill")
    assert set(page.locator("#list .badge.skill").all_inner_texts()) == {"skill"}
    assert "When it is the closet" in page.locator("#detail mark").inner_text()
    page.locator("#search").fill("no such text")
    assert "Nothing matches" in page.locator("#detail").inner_text()


def test_texts_of_a_model_are_shown_as_they_are(page):
    page.select_option("select[data-filter=step]", "30")
    assert NASTY in page.locator("#detail").text_content()
    page.get_by_role("tab", name="siri_1").click()
    view = page.locator(".prompts .view:visible")
    assert view.locator("mark").text_content().startswith("skill: When it is the bath: read </script>")
    page.get_by_label("earlier step").click()
    assert "bath-19" in view.inner_text() and "alert" not in view.inner_text()
