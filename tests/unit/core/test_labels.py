"""What an object says of itself."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from archiver.core.labels import metadata_of
from archiver.core.model import StemName, TaskId
from archiver.core.records.facts import NO_FACTS, Facts

TASK, STEM = TaskId("3e63b4cc88d5"), StemName("vocal")
S3_LIMIT = 2048


def test_object_names_title_tags_and_model_as_far_as_they_are_known() -> None:
    facts = Facts(tags="pop, s\u00fc\u00df", model="V5")
    assert metadata_of(TASK, STEM, "100 %", facts) == {
        "task-id": TASK,
        "stem": STEM,
        "title": "100 %25",
        "tags": "pop, s%C3%BC%C3%9F",
        "model": "V5",
    }
    assert metadata_of(TASK, STEM, "", NO_FACTS) == {"task-id": TASK, "stem": STEM}


@given(title=st.text(), tags=st.text(), model=st.text(), times=st.sampled_from([1, 40, 1000]))
def test_whatever_is_said_of_a_task_its_metadata_is_ascii_and_fits(
    title: str, tags: str, model: str, times: int
) -> None:
    facts = Facts(tags=tags * times, model=model * times)
    found = metadata_of(TaskId("x" * 128), StemName("x" * 64), title * times, facts)
    assert all(each.isascii() and each.isprintable() and each == each.strip() for each in found.values())
    sizes = sum(len(f"x-amz-meta-{name}{value}") for name, value in {**found, "sha256": "0" * 64}.items())
    assert sizes <= S3_LIMIT
