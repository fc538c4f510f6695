"""The task that an answer or a callback of the provider names. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from archiver.core.model import TASK_ID_RULE, TaskId, task_id

ID_FIELDS = ("taskId", "task_id")
"""The names under which answers of the provider give a task's id."""


def task_named_in(document: object) -> TaskId:
    """Return the one task that an answer or a callback of the provider names, at the top or under `data`, be it a list.

    Raises ValueError, without echoing anything of it, when it names none, no valid one, or several.
    """
    below = document.get("data") if isinstance(document, Mapping) else None
    objects = [
        each for each in (document, *(below if isinstance(below, list) else [below])) if isinstance(each, Mapping)
    ]
    named = {each[name] for each in objects for name in ID_FIELDS if isinstance(each.get(name), str)}
    if len(named) > 1:
        raise ValueError("JSON that names more than one task; expected one")
    if not named:
        if any(isinstance(each.get(name), int | float) for each in objects for name in ID_FIELDS):
            raise ValueError(f"JSON whose taskId is a number, not a text (expected {TASK_ID_RULE})")
        raise ValueError("JSON without taskId or task_id, at the top or under data")
    try:
        return task_id(named.pop())
    except ValueError:
        raise ValueError(f"JSON whose taskId is no task id (expected {TASK_ID_RULE})") from None
