"""One line of the queue file: which id it names, or what was expected instead."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.adapters.queue_file import excerpt_of, parse_line
from archiver.core.model import task_id

ID = "3e63b4cc88d52611159371f6af5571e7"
ANSWER = {"code": 200, "msg": "success", "data": {"taskId": ID}}
CALLBACK = {"code": 200, "data": {"task_id": ID, "vocal_removal_info": {"vocal_url": "https://a.example/b"}}}


@pytest.mark.parametrize(
    "line",
    [
        f"{ID}",
        f"{ID}\n",
        f"{ID}\r\n",
        f"  \t{ID} \t\r\n",
        f"\ufeff{ID}\n",
        f"\u00a0{ID}\u00a0",
        f"{ID}  # vocals for the remix",
        f"{ID}\t#",
        json.dumps({"taskId": ID}),
        json.dumps({"task_id": ID}),
        json.dumps(ANSWER),
        "\ufeff" + json.dumps(ANSWER) + "\r\n",
        json.dumps(CALLBACK),
        json.dumps({"taskId": ID, "task_id": ID, "data": {"taskId": ID}}),
        json.dumps({"taskId": ID, "data": "not an object"}),
        json.dumps({"taskId": ID, "data": None}),
    ],
)
def test_line_when_it_names_one_id_gives_it(line: str) -> None:
    assert parse_line(line.encode()) == (ID, None)


@pytest.mark.parametrize(
    "line",
    [
        f"{ID} account=second",
        f"  {ID}\t account=second \r\n",
        f"{ID} account=second  # vocals for the remix",
        json.dumps({"taskId": ID, "account": "second"}),
        json.dumps(ANSWER | {"account": "second"}),
    ],
)
def test_line_when_it_names_an_account_gives_it_too(line: str) -> None:
    assert parse_line(line.encode()) == (ID, "second")


def test_line_when_its_json_leaves_the_account_open_names_none() -> None:
    assert parse_line(json.dumps(ANSWER | {"account": None}).encode()) == (ID, None)


@pytest.mark.parametrize(
    "line",
    [
        f"{ID} account=",
        f"{ID} account=a b",
        f"{ID} account=a account=b",
        f"{ID} account={'a' * 33}",
        f"{ID} account=\u0430",
        json.dumps(ANSWER | {"account": ""}),
        json.dumps(ANSWER | {"account": 2}),
        json.dumps(ANSWER | {"account": {"name": "a"}}),
    ],
)
def test_line_when_its_account_cannot_be_one_says_what_is_expected(line: str) -> None:
    with pytest.raises(ValueError, match="the account it names can be none") as caught:
        parse_line(line.encode())
    assert ID not in str(caught.value)


@pytest.mark.parametrize(
    "line", [f"account=second {ID}", f"{ID}account=second", f"{ID} second", f"{ID} Account=second"]
)
def test_line_when_the_account_stands_elsewhere_names_no_id(line: str) -> None:
    with pytest.raises(ValueError, match="expected a task id"):
        parse_line(line.encode())


@pytest.mark.parametrize("size", [8, 128])
def test_line_when_the_id_is_as_short_or_long_as_allowed_gives_it(size: int) -> None:
    assert parse_line(b"a" * size) == ("a" * size, None)


@pytest.mark.parametrize(
    "line", ["", "\n", "\r\n", "   \t\n", "# comment", "  # comment\n", "#" + ID, "\ufeff", "\ufeff# x"]
)
def test_line_when_blank_or_a_comment_is_skipped(line: str) -> None:
    assert parse_line(line.encode()) is None


NOT_JSON_ID = [
    ("{", "broken JSON"),
    ('{"taskId": "' + ID, "broken JSON"),
    ("{" * 100_000, "broken JSON"),
    ('{"a":' * 50_000 + "1" + "}" * 50_000, "broken JSON"),
    ('{"n": ' + "9" * 5000 + "}", "broken JSON"),
    (json.dumps({"taskId": ID}) + " # note", "broken JSON"),
    (json.dumps({"code": 422, "msg": "Record does not exist", "data": None}), "without taskId"),
    (json.dumps({"taskId": 12345678}), "without taskId"),
    (json.dumps({"taskId": None, "data": {"taskId": []}}), "without taskId"),
    (json.dumps({"data": {"data": {"taskId": ID}}}), "without taskId"),
    (json.dumps({"TaskId": ID}), "without taskId"),
    (json.dumps({"taskId": ID, "data": {"taskId": "e649edb7abfd759285bd41a47a634b10"}}), "more than one"),
    (json.dumps({"taskId": "short"}), "no task id"),
    (json.dumps({"taskId": ID + "\n"}), "no task id"),
    (json.dumps({"taskId": "../../../etc/passwd"}), "no task id"),
    (json.dumps({"taskId": ""}), "no task id"),
]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("short", "expected a task id"),
        ("a" * 129, "expected a task id"),
        (f"{ID} {ID}", "expected a task id"),
        (f"{ID} x # y", "expected a task id"),
        (f"{ID}# note", "expected a task id"),
        (f"{ID}\r{ID}", "expected a task id"),
        (f'"{ID}"', "expected a task id"),
        (f"{ID},", "expected a task id"),
        (f'["{ID}"]', "expected a task id"),
        (f"\x00\x00{ID}", "expected a task id"),
        (f"{ID}\u200b", "expected a task id"),
        (f"taskId{ID[:4]}\u0435", "expected a task id"),
        (f"https://api.kie.ai/x?taskId={ID}", "expected a task id"),
        ("../../etc/passwd", "expected a task id"),
        *NOT_JSON_ID,
    ],
    ids=range(14 + len(NOT_JSON_ID)),
)
def test_line_when_it_names_no_id_says_what_is_expected(line: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        parse_line(line.encode())
    assert ID not in str(caught.value)


@pytest.mark.parametrize("line", [b"\xff\xfe3\x00e\x00", b"\x80abcdefgh", ID.encode() + b"\xc3"])
def test_line_when_not_utf8_says_so(line: bytes) -> None:
    with pytest.raises(ValueError, match="UTF-8"):
        parse_line(line)


@given(st.binary(max_size=300))
def test_line_of_any_bytes_gives_an_id_or_nothing_or_a_value_error(line: bytes) -> None:
    try:
        found = parse_line(line)
    except ValueError as error:
        assert str(error).isprintable()  # noqa: PT017  any bytes may or may not raise
    else:
        assert found is None or task_id(found.task_id) == found.task_id


@given(st.binary(max_size=6000))
def test_excerpt_of_any_bytes_is_short_and_printable(line: bytes) -> None:
    excerpt = excerpt_of(line)
    assert len(excerpt) <= 200
    assert excerpt.isprintable()


@pytest.mark.parametrize(
    "line",
    [
        "https://cdn.example/a.mp3?token=PLANTED",
        "https://user:PLANTED@cdn.example/a.mp3",
        "https://api.telegram.org/bot123456:PLANTED/getFile",
        "ARCHIVER_PROVIDER__API_KEY=0123456789PLANTED",
        "Authorization: Bearer sk-0123456789PLANTED",
        '{"callBackUrl": "https://me.example/cb?key=PLANTED", "taskId": 7}',
        "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxPLANTEDKEY",
        "\x1b]0;PLANTED\x07title",
    ],
)
def test_excerpt_of_a_line_with_a_secret_does_not_show_it(line: str) -> None:
    excerpt = excerpt_of(line.encode())
    assert "PLANTED" not in excerpt
    assert excerpt


def test_excerpt_of_a_readable_line_shows_it() -> None:
    assert excerpt_of(b"  please archive my song\r\n") == "please archive my song"


def test_excerpt_of_terminal_escapes_shows_none() -> None:
    assert "\x1b" not in excerpt_of(b"\x1b[31mred\x1b[0m \x9b31m \x07 bell")
