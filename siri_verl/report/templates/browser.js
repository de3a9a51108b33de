/* SPDX-License-Identifier: Apache-2.0 */
"use strict";
const read = (id) => JSON.parse(document.getElementById(id).textContent);
const make = (tag, options = {}, ...children) => {
  const { text, ...rest } = options;
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(rest)) {
    if (value !== undefined && value !== null && value !== false) element.setAttribute(name, value);
  }
  if (text !== undefined) element.textContent = text;
  element.append(...children.filter(Boolean));
  return element;
};
const badge = (kind, text) => make("span", { class: `badge ${kind}`, text });

// A reply with its reasoning and its action set apart. Text only: nothing of a model's is ever read as HTML.
function replyText(text) {
  const box = document.createDocumentFragment();
  for (const part of text.split(/(<think>[\s\S]*?<\/think>|<action>[\s\S]*?<\/action>)/)) {
    const kind = part.startsWith("<think>") ? "think" : part.startsWith("<action>") ? "act" : "";
    if (part) box.append(kind ? make("span", { class: kind, text: part }) : part);
  }
  return box;
}

// ---- runs: one at a time ----
for (const tabs of document.querySelectorAll("[role=tablist]")) {
  const buttons = [...tabs.querySelectorAll("button")];
  const show = (chosen, focus) => {
    for (const button of buttons) {
      const on = button === chosen;
      button.setAttribute("aria-selected", on);
      button.tabIndex = on ? 0 : -1;
      document.getElementById(button.getAttribute("aria-controls")).hidden = !on;
    }
    if (focus) chosen.focus();
  };
  buttons.forEach((button, i) => {
    button.addEventListener("click", () => show(button));
    button.addEventListener("keydown", (event) => {
      const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (move) { event.preventDefault(); show(buttons[(i + move + buttons.length) % buttons.length], true); }
    });
  });
  if (buttons.length) show(buttons[0]);
}

// ---- prompts of both arms ----
const prompts = read("prompts-data");
for (const box of document.querySelectorAll(".prompts")) {
  const entries = prompts[box.dataset.run];
  const select = box.querySelector("select"), view = box.querySelector(".view");
  const [back, forth] = box.querySelectorAll("button");
  const column = (kind, title, prompt, reply) => make("div", {},
    make("h4", {}, badge(kind, `${kind} arm`), ` ${title}`),
    make("pre", { class: `box ${kind}` }, ...prompt),
    make("h4", { text: "reply" }),
    make("pre", { class: `box ${kind}` }, replyText(reply)));
  const show = () => {
    const entry = entries[select.selectedIndex];
    const [before, section, after] = entry.shown;
    const shown = section ? [before, make("mark", { text: section, title: "the skill; the plain prompt lacks it" }), after]
      : [before + after];
    view.replaceChildren(
      make("p", { class: "soft", text: `task ${entry.task}, skill ${entry.skill}` }),
      make("div", { class: "two" },
        column("plain", "prompt", [entry.plain], entry.plain_reply),
        column("skill", "prompt", shown, entry.skill_reply)));
    back.disabled = select.selectedIndex === 0;
    forth.disabled = select.selectedIndex === entries.length - 1;
  };
  const go = (by) => { select.selectedIndex = Math.min(Math.max(select.selectedIndex + by, 0), entries.length - 1); show(); };
  select.addEventListener("change", show);
  back.addEventListener("click", () => go(-1));
  forth.addEventListener("click", () => go(1));
  select.selectedIndex = entries.length - 1;
  show();
}

// ---- trajectories ----
const all = read("trajectories-data");
const list = document.getElementById("list");
if (list) {
  const detail = document.getElementById("detail"), count = document.getElementById("count");
  const search = document.getElementById("search");
  const filters = [...document.querySelectorAll("[data-filter]")];
  const outcome = (t) => (t.success ? "solved" : "not solved");
  const value = (t, name) => String((name === "outcome" ? outcome(t) : t[name]) ?? "");
  const moment = (t) => (t.step === null ? t.source : `${t.source} ${t.step}`);
  let shown = [], current = -1;
  for (const select of filters) {
    const numeric = select.dataset.filter === "step";
    const options = [...new Set(all.map((t) => value(t, select.dataset.filter)))].filter((v) => v !== "");
    options.sort((a, b) => (numeric ? a - b : a.localeCompare(b)));
    select.append(make("option", { value: "", text: "all" }), ...options.map((v) => make("option", { value: v, text: v })));
    select.parentElement.hidden = options.length < 2;
    select.addEventListener("change", filter);
  }
  search.addEventListener("input", filter);
  const haystack = all.map((t) => [t.task, t.task_id, t.skill, t.why, t.final, ...t.turns.map((n) => `${n.o} ${n.r}`)].join(" ").toLowerCase());

  function filter() {
    const wanted = filters.filter((s) => s.value !== "").map((s) => [s.dataset.filter, s.value]);
    const words = search.value.toLowerCase().trim();
    const chosen = all[shown[current]];
    shown = all.map((_, i) => i).filter((i) => wanted.every(([name, v]) => value(all[i], name) === v)
      && (!words || haystack[i].includes(words)));
    list.replaceChildren(...shown.map((index, i) => {
      const t = all[index];
      const item = make("div", { class: "item", role: "option", id: `item-${i}`, "aria-selected": "false" },
        make("div", { class: "line" }, badge(t.success ? "won" : "lost", t.success ? "✓ solved" : "✗ not solved"),
          badge(t.arm, t.arm), badge("", moment(t)), t.category ? badge("", t.category) : null),
        make("div", { class: "words", text: t.task || t.task_id }));
      item.addEventListener("click", () => { select(i); list.focus({ preventScroll: true }); });
      return item;
    }));
    count.textContent = `${shown.length} of ${all.length}`;
    current = -1;
    if (!shown.length) { detail.replaceChildren(make("p", { class: "soft", text: "Nothing matches. Change the filters above." })); return; }
    select(Math.max(shown.findIndex((i) => all[i] === chosen), 0));
  }

  function select(i) {
    if (!shown.length) return;
    const next = Math.min(Math.max(i, 0), shown.length - 1);
    list.children[current]?.setAttribute("aria-selected", "false");
    current = next;
    const item = list.children[current];
    item.setAttribute("aria-selected", "true");
    list.setAttribute("aria-activedescendant", item.id);
    const top = item.offsetTop - list.offsetTop;
    if (top < list.scrollTop) list.scrollTop = top;
    if (top + item.offsetHeight > list.scrollTop + list.clientHeight) list.scrollTop = top + item.offsetHeight - list.clientHeight;
    show(all[shown[current]]);
  }

  function jump(t) {
    if (!shown.some((i) => all[i] === t)) { for (const s of filters) s.value = ""; search.value = ""; filter(); }
    select(shown.findIndex((i) => all[i] === t));
  }

  function show(t) {
    const facts = [t.run, moment(t), t.task_id, t.status, t.score === null ? "" : `score ${t.score.toFixed(2)}`,
      `${t.turns.length} turn${t.turns.length === 1 ? "" : "s"}`].filter(Boolean).join(" · ");
    const same = all.filter((o) => o.task_id === t.task_id && o.run === t.run);
    const chips = same.length > 1 ? make("div", { class: "chips" }, make("span", { class: "soft", text: "same task:" }),
      ...same.map((o) => {
        const words = `${o.success ? "✓" : "✗"} ${moment(o)}${o.arm === "skill" ? " with skill" : ""}`;
        const chip = make("button", { type: "button", class: o.success ? "won" : "lost", "aria-current": String(o === t), text: words });
        chip.addEventListener("click", () => jump(o));
        return chip;
      })) : null;
    const skill = t.skill_id ? make("p", {}, badge("skill", `skill ${t.skill_id}`), " ", make("mark", { text: t.skill })) : null;
    const why = t.why ? make("p", { class: "why wrap" }, make("strong", { text: t.success ? "result: " : "why it failed: " }), t.why) : null;
    const final = t.final ? make("div", { class: "turn" }, make("div", { class: "head" },
      make("strong", { text: "final observation" })), make("pre", { text: t.final })) : null;
    const turns = t.turns.map((turn, i) => make("div", { class: "turn" },
      make("div", { class: "head" }, make("strong", { text: `turn ${i + 1}` }),
        turn.w ? badge(turn.w > 0 ? "won" : "lost", `reward ${turn.w}`) : null,
        turn.v ? null : badge("lost", "malformed reply"),
        turn.d ? null : badge("candidate", "action did nothing")),
      make("pre", { text: turn.o }),
      make("pre", { class: `box reply ${t.arm}` }, replyText(turn.r || turn.a || "(empty reply)"))));
    detail.replaceChildren(
      make("div", { class: "line" }, badge(t.success ? "won" : "lost", t.success ? "✓ solved" : "✗ not solved"), " ",
        badge(t.arm, `${t.arm} prompt`), " ", t.category ? badge("", t.category) : null),
      make("h3", { class: "wrap", text: t.task || t.task_id }), make("p", { class: "soft wrap", text: facts }),
      ...[why, chips, skill].filter(Boolean), ...turns, ...[final].filter(Boolean));
    detail.scrollTop = 0;
  }

  list.addEventListener("keydown", (event) => {
    const moves = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity };
    if (event.key in moves && !event.ctrlKey && !event.metaKey) { event.preventDefault(); select(current + moves[event.key]); }
    if (event.key === "n" || event.key === "p") {
      const same = all.filter((o) => o.task_id === all[shown[current]].task_id && o.run === all[shown[current]].run);
      const at = same.indexOf(all[shown[current]]) + (event.key === "n" ? 1 : -1);
      if (same[at]) jump(same[at]);
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !/INPUT|SELECT|TEXTAREA/.test(event.target.tagName)) {
      event.preventDefault();
      search.focus();
    }
  });
  search.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "Enter") { event.preventDefault(); list.focus(); }
  });
  filter();
}
