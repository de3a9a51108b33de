# SPDX-License-Identifier: Apache-2.0
"""WebShop as a Gymnasium environment: `gymnasium.make("siri_verl/WebShop-v0", store=DIR)`."""

from __future__ import annotations

import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

from siri_verl.envs.base import EpisodeOverError, TextEnv, UnknownSplitError, UnknownTaskError
from siri_verl.envs.replies import REFERENCE
from siri_verl.envs.webshop.catalog import Catalog
from siri_verl.envs.webshop.explanation import NOTHING_BOUGHT, explain_purchase
from siri_verl.envs.webshop.goals import Goal
from siri_verl.envs.webshop.pages import ProductLike
from siri_verl.envs.webshop.reward import PurchaseScore, score_purchase, solved_by_own_product
from siri_verl.envs.webshop.session import Session, check_settings
from siri_verl.envs.webshop.splits import PARTS, SplitError

_catalogs: dict[tuple[str, int, int], Catalog] = {}
_lock = threading.Lock()


def shared_catalog(store: str | Path) -> Catalog:
    """The catalogue of a store, opened once per process; processes share its pages through memory maps.

    A store that was prepared anew is opened anew.

    Raises:
        DataError: no prepared store there, or a damaged one.
    """
    path = Path(store).expanduser().absolute()
    manifest = path / "manifest.json"
    if not manifest.is_file():
        return Catalog.open(path)  # the error names what is missing
    state = manifest.stat()
    key = (str(path), state.st_ino, state.st_mtime_ns)
    with _lock:
        if key not in _catalogs:
            _catalogs[key] = Catalog.open(path)
        return _catalogs[key]


def split_names(catalog: Catalog) -> list[str]:
    """What `split` may be for a catalogue: "<split>/<part>", for example "official/train"."""
    return [f"{name}/{part}" for name in catalog.split_names for part in PARTS if getattr(catalog.split(name), part)]


class WebShopEnv(TextEnv):
    """A shopper with an instruction; an episode ends with a purchase or after `max_turns`.

    Rewards are 0 until Buy Now, then the original's score in [0, 1]; success is a score of exactly 1. After the
    purchase `info["score_parts"]` holds the parts of the score (`siri_verl.envs.webshop.PurchaseScore`), and
    `info["explanation"]` names the attributes, options and price limit that the purchase misses.

    Args:
        store: directory written by `siri-verl data webshop`.
        split: "<split>/<part>" restricts the tasks; None gives all goals of the store.
        text: "rich", "original" or "compact" (`siri_verl.envs.webshop.pages`).
        anchor: "state" (page, product, chosen options) or "observation" (the text).
        max_turns: turns before truncation, at least 2.
        results_per_page: products on a page of results.

    Raises:
        DataError: no prepared store there.
        UnknownSplitError: the store has no such split; the message lists those it has.
        ValueError: another setting is wrong; the message names it.
    """

    def __init__(
        self,
        store: str | Path,
        split: str | None = None,
        text: str = "rich",
        anchor: str = "state",
        max_turns: int = 15,
        results_per_page: int = 10,
        render_mode: str | None = None,
    ):
        super().__init__(render_mode)
        check_settings(text, anchor, results_per_page)
        if not isinstance(max_turns, int) or isinstance(max_turns, bool) or max_turns < 2:
            raise ValueError(f"max_turns: got {max_turns!r}; it must be an integer of at least 2")
        self.catalog = shared_catalog(store)
        self._split, self._max_turns = split, max_turns
        self._session_settings = {"text": text, "anchor": anchor, "results_per_page": results_per_page}
        self._task_ids: list[str] | None = None if split is None else _split_ids(self.catalog, split)
        self._allowed = None if self._task_ids is None else frozenset(self._task_ids)
        self._session: Session | None = None

    def task_ids(self) -> list[str]:
        if self._task_ids is None:
            self._task_ids = list(self.catalog.goals)
        return list(self._task_ids)

    def split_names(self) -> list[str]:
        return split_names(self.catalog)

    def unsolvable_task_ids(self) -> list[str]:
        """Synthetic goals that score less than 1 for their own product with their own options."""
        goals = (self.catalog.goals[task_id] for task_id in self.task_ids())
        return [g.id for g in goals if g.kind == "synthetic" and not solved_by_own_product(g, self.catalog[g.asin])]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super(TextEnv, self).reset(seed=seed)
        task_id = self._choose_task(options)
        if self._allowed is not None and task_id not in self._allowed:
            raise UnknownTaskError(f"task_id {task_id!r} is none of the {len(self._allowed)} of split {self._split!r}")
        if task_id not in self.catalog.goals:
            raise UnknownTaskError(
                f"task_id {task_id!r} is none of the {len(self.catalog.goals)} goals of {self.catalog.path}"
            )
        self._goal = self.catalog.goals[task_id]
        self._purchase: PurchaseScore | None = None
        self._explanation = NOTHING_BOUGHT
        self._turns = 0
        self._session = Session(self.catalog, self._goal.instruction, self._buy, **self._session_settings)
        options = self._goal.goal_options
        values = options.values() if isinstance(options, dict) else options
        info = self._info(self._session, admissible=True)
        info |= {"answers": [self._goal.asin, *values], "action_rules": dict(REFERENCE)}
        return self._session.observation, info

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        session = self._session
        if session is None:
            raise EpisodeOverError("webshop: no episode is running; call reset first")
        self._turns += 1
        admissible = session.act(action)
        terminated = session.done
        truncated = not terminated and self._turns >= self._max_turns
        info = self._info(session, admissible)
        if terminated or truncated:
            info["explanation"] = self._explanation
            self._session = None
        return session.observation, info["score"], terminated, truncated, info

    def _buy(self, product: ProductLike, options: dict[str, str]) -> float:
        self._purchase = score_purchase(
            self._goal, product, options, product.price, type_backend=self.catalog.type_backend
        )
        self._explanation = explain_purchase(self._goal, product, options, self._purchase)
        return self._purchase.total

    def _info(self, session: Session, admissible: bool) -> dict[str, Any]:
        goal: Goal = self._goal
        self._last_observation = session.observation
        info = {
            "task": goal.instruction,
            "task_id": goal.id,
            "admissible_actions": session.admissible_actions,
            "anchor": session.anchor,
            "action_admissible": admissible,
            "success": self._purchase is not None and self._purchase.success,
            "score": 0.0 if self._purchase is None else float(self._purchase.total),
            "category": goal.category,
        }
        if self._purchase is not None:
            info["score_parts"] = asdict(self._purchase)
        return info


def _split_ids(catalog: Catalog, split: str) -> list[str]:
    name, slash, part = split.partition("/") if isinstance(split, str) else ("", "", "")
    try:
        if slash:
            return list(catalog.split(name).part(part))
        reason = "expected '<split>/<part>'"
    except SplitError as error:
        reason = str(error)
    raise UnknownSplitError(f"split: {split!r} is unknown ({reason}); this store has {', '.join(split_names(catalog))}")
