"""One line of the queue file: which id it names, or what was expected instead."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.core.model import AccountName, TaskId, task_id
from archiver.core.queue_lines import PADDING, Named, Parsed, begins_json, excerpt_of, goes_on, opened, parse_entry
from archiver.core.records.kinds.names import KindName
from archiver.core.said import TITLE_LENGTH, UNSAID, Said, line_of, said_in, title_of

ID = TaskId("3e63b4cc88d52611159371f6af5571e7")
OTHER = TaskId("e649edb7abfd759285bd41a47a634b10")
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
        json.dumps({"taskId": ID}) + " # note",
        json.dumps(ANSWER, indent=2),
        json.dumps(ANSWER, indent=0),
        f'"{ID}"',
        f"'{ID}'",
        f"{ID},",
        f"{ID};",
        f'["{ID}"]',
        f"\x00\x00{ID}",
        "\x00" * 3000 + ID,
        f"{ID}\u200b",
        f"\u00ad{ID}\u2060\ufe0f",
        f"\u2800{ID}\u3164",
        f"https://api.kie.ai/api/v1/vocal-removal/record-info?taskId={ID}",
        f"https://api.example/x?a=1&task_id={ID}&b=2#c  # from the browser",
    ],
)
def test_line_when_it_names_one_id_gives_it(line: str) -> None:
    assert parse_entry(line.encode()) == Parsed((Named(ID),))


@pytest.mark.parametrize(
    "line",
    [
        json.dumps(ANSWER) + json.dumps({"taskId": OTHER}),
        json.dumps(ANSWER) + " , " + json.dumps({"taskId": OTHER}) + "  # both",
        json.dumps([ANSWER, {"taskId": OTHER}], indent=4),
        json.dumps({"code": 200, "data": [{"taskId": ID}, {"task_id": OTHER}]}),
        json.dumps([ID, OTHER]),
        json.dumps({"taskId": [ID, OTHER]}),
        f'{{"taskId": "{ID}", "taskId": "{OTHER}"}}',
        f"{ID},{OTHER}",
        f'"{ID}" ; "{OTHER}";',
        f"{ID}\r{OTHER}\r",
        f"{ID}\r\r# note\r{OTHER}",
    ],
)
def test_line_when_it_names_two_ids_gives_both(line: str) -> None:
    assert parse_entry(line.encode()) == Parsed((Named(ID), Named(OTHER)))


def test_line_when_it_names_several_ids_at_once_says_of_each_what_it_says() -> None:
    line = json.dumps({"taskId": [ID, OTHER], "account": "second", "title": "Both"})
    assert [(each.account, each.said.title) for each in parse_entry(line.encode()).named] == [("second", "Both")] * 2


@pytest.mark.parametrize(
    "line",
    [
        {"taskId": ID, "data": [{"taskId": OTHER}]},
        {"taskId": [ID], "data": {"taskId": OTHER}},
        {"taskId": [ID], "task_id": [OTHER]},
    ],
)
def test_line_when_it_names_ids_at_odds_drops_none_in_silence(line: object) -> None:
    found = parse_entry(json.dumps(line).encode())
    assert (found.named, found.fault.startswith("JSON ")) == ((), True)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("text", [ID, f"{ID} account=second", json.dumps(ANSWER), "# a note"])
def test_lines_of_utf16_cut_at_its_line_ends_name_what_they_name_in_utf8(encoding: str, text: str) -> None:
    once, twice = ((text + "\r\n") * times for times in (1, 2))
    lines = twice.encode(encoding).split(b"\n")
    expected = parse_entry(once.encode())
    assert [parse_entry(line + b"\n") for line in lines[:-1]] == [expected, expected]


@pytest.mark.parametrize(
    ("line", "named", "fault"),
    [
        (json.dumps({"taskId": ID}) + '{"taskId": "', [ID], "broken JSON at character"),
        (json.dumps({"taskId": ID}) + '{"taskId": "short"}', [ID], "no task id"),
        (f"{ID}\rshort\r{OTHER}", [ID, OTHER], "it has 5 characters"),
        ('{"taskId":\n' + f'"{ID}"\n', [ID], "broken JSON"),
    ],
)
def test_line_when_a_part_of_it_names_an_id_gives_that_and_the_fault_of_the_rest(
    line: str, named: list[str], fault: str
) -> None:
    found = parse_entry(line.encode())
    assert [each.task_id for each in found.named] == named
    assert fault in found.fault


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
    assert parse_entry(line.encode()) == Parsed((Named(ID, AccountName("second")),))


def test_line_when_its_json_leaves_the_account_open_names_none() -> None:
    assert parse_entry(json.dumps(ANSWER | {"account": None}).encode()) == Parsed((Named(ID),))


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
    found = parse_entry(line.encode())
    assert found.named == ()
    assert "the account it names can be none" in found.fault
    assert ID not in found.fault


@pytest.mark.parametrize(
    "line", [f"account=second {ID}", f"{ID}account=second", f"{ID} second", f"{ID} Account=second"]
)
def test_line_when_the_account_stands_elsewhere_names_no_id(line: str) -> None:
    found = parse_entry(line.encode())
    assert found.named == ()
    assert "expected a task id" in found.fault


WORDS = {"kind": "music", "title": 'Harbour "Lights" # 2', "parent": OTHER}
SAID = Said(KindName.MUSIC, 'Harbour "Lights" # 2', OTHER)


@pytest.mark.parametrize(
    "line",
    [
        f'{ID} kind=music title="Harbour \\"Lights\\" # 2" parent={OTHER}',
        f'{ID}  parent="{OTHER}"\ttitle="Harbour \\"Lights\\" # 2" account=second kind=MUSIC # a note with title=x',
        f'https://api.kie.ai/x?taskId={ID} title="Harbour \\"Lights\\" \\# 2" parent={OTHER} kind="music"',
        json.dumps({"taskId": ID, **WORDS}),
        json.dumps(ANSWER | WORDS | {"account": "second"}),
    ],
)
def test_line_when_it_says_more_of_its_task_gives_that_too(line: str) -> None:
    account = AccountName("second") if "second" in line else None
    assert parse_entry(line.encode()) == Parsed((Named(ID, account, SAID),))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (f"{ID} kind=auto", UNSAID),
        (f"{ID} kind=4o-image", Said(KindName.IMAGE_4O)),
        (f"{ID} title=Harbour", Said(title="Harbour")),
        (f'{ID} title=""', UNSAID),
        (f"{ID} # kind=nonsense title=x", UNSAID),
        (f"{ID} account=second # kind=wav", UNSAID),
        (json.dumps({"taskId": ID, "kind": None, "title": None, "parent": None}), UNSAID),
        (json.dumps({"taskId": ID, "title": 7}), UNSAID),
        (json.dumps({"taskId": ID, "title": "a\r\nb\u0000\u202e\ud800 c"}), Said(title="a b c")),
        (json.dumps({"code": 200, "data": {"taskId": ID, "kind": 7, "parent": [], "title": "of a track"}}), UNSAID),
    ],
)
def test_line_when_it_says_little_gives_just_that(line: str, said: Said) -> None:
    found = parse_entry(line.encode())
    assert ([each.said for each in found.named], found.fault) == ([said], "")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("kind=vocals", "there are: auto, separation, jobs, music, wav, .* or without kind="),
        ("kind=", "the kind it names is none"),
        ("kind=wav kind=wav", "says kind= twice; append the line again"),
        ("kind=wav mp4", "what follows kind= is not one word"),
        ("title=Harbour Lights", 'stands in quotes: title="'),
        ('title="Harbour Lights', "stands in quotes"),
        ('title="a"b', "stands in quotes"),
        ("parent=short", "the parent it names is no other task's id .* or without parent="),
        (f"parent={ID}", "the parent it names is no other task's id"),
    ],
)
def test_line_when_it_says_what_cannot_be_is_rejected_with_the_way_out(words: str, reason: str) -> None:
    found = parse_entry(f"{ID} {words}".encode())
    assert found.named == ()
    assert re.search(reason, found.fault)
    assert ID not in found.fault


@pytest.mark.parametrize("word", ["kind", "parent"])
@pytest.mark.parametrize("value", [7, "", "no such", {"a": 1}, [ID], True])
def test_line_when_its_json_says_what_cannot_be_is_rejected(word: str, value: object) -> None:
    found = parse_entry(json.dumps({"taskId": ID, word: value}).encode())
    assert (found.named, bool(found.fault)) == ((), True)


@given(st.text(max_size=400))
def test_title_is_short_and_printable_and_stays_as_it_is(text: str) -> None:
    title = title_of(text)
    assert len(title) <= TITLE_LENGTH
    assert title_of(title) == title
    assert title.replace("\u200c", "").replace("\u200d", "").isprintable()
    title.encode()


@given(
    st.none() | st.sampled_from(["second", "a-b"]).map(AccountName),
    st.none() | st.sampled_from([*KindName, "auto"]),
    st.text(max_size=40) | st.text('"\\\\# =', max_size=9),
    st.none() | st.just(OTHER),
)
def test_line_that_was_written_says_what_it_was_written_with(
    account: AccountName | None, kind: str | None, title: str, parent: TaskId | None
) -> None:
    said = said_in({"kind": kind, "title": title, "parent": parent})
    assert parse_entry(line_of(ID, account, said).encode()) == Parsed((Named(ID, account, said),))


@given(st.text(max_size=60), st.sampled_from(["account", "kind", "title", "parent"]))
def test_line_with_any_words_gives_its_id_or_a_fault_and_never_another(words: str, name: str) -> None:
    found = parse_entry(f"{ID} {name}={words}".encode("utf-8", "surrogatepass"))
    assert bool(found.fault) or found.named[0].task_id == ID
    assert found.fault.isprintable()


@pytest.mark.parametrize("size", [8, 128])
def test_line_when_the_id_is_as_short_or_long_as_allowed_gives_it(size: int) -> None:
    assert parse_entry(b"a" * size) == Parsed((Named(TaskId("a" * size)),))


@pytest.mark.parametrize(
    "line", ["", "\n", "\r\n", "   \t\n", "# comment", "  # comment\n", "#" + ID, "\ufeff", "\ufeff# x", "\x00"]
)
def test_line_when_blank_or_a_comment_is_skipped(line: str) -> None:
    assert parse_entry(line.encode()) == Parsed()


NOT_JSON_ID = [
    ("{", "broken JSON"),
    ('{"taskId": "' + ID, "broken JSON"),
    ("{" * 100_000, "broken JSON"),
    ('{"a":' * 50_000 + "1" + "}" * 50_000, "broken JSON"),
    ('{"n": ' + "9" * 5000 + "}", "broken JSON"),
    (json.dumps({"code": 422, "msg": "Record does not exist", "data": None}), "without taskId"),
    (json.dumps({"taskId": 12345678}), "a number, not a text"),
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
        ("short", "expected a task id .*; it has 5 characters"),
        ("a" * 129, "it has 129 characters"),
        (f"{ID} {ID}", "character 33 is ' '"),
        (f"{ID} x # y", "character 33 is ' '"),
        (f"{ID}# note", "character 33 is '#'"),
        (f"{ID[:9]}\u200b{ID}", r"character 10 is U\+200B"),
        (f"taskId{ID[:4]}\u0435", r"character 11 is U\+0435"),
        (f"{ID},a title,2026", "several words"),
        (f"{ID},{'title-of-the-song-without-digits'}", "several words"),
        (f"https://api.kie.ai/x?taskId={ID}&taskId={OTHER}", "a link without one taskId"),
        ("https://api.kie.ai/x?taskId=short", "a link without one taskId"),
        ("https://[", "a link without one taskId"),
        ("[]x", "expected a task id"),
        ("../../etc/passwd", "character 1 is '.'"),
        (",;", "expected a task id"),
        *NOT_JSON_ID,
    ],
    ids=range(15 + len(NOT_JSON_ID)),
)
def test_line_when_it_names_no_id_says_what_is_expected(line: str, reason: str) -> None:
    found = parse_entry(line.encode())
    assert found.named == ()
    assert re.search(reason, found.fault)
    assert ID not in found.fault


@pytest.mark.parametrize(
    "line", [b"\x80abcdefgh", ID.encode() + b"\xc3", ID.encode() + b"\x1b[31m", b"\x7fELF\x02\x01\x01abcdefgh"]
)
def test_line_when_no_text_says_so(line: bytes) -> None:
    assert "UTF-8" in parse_entry(line).fault


@given(st.binary(max_size=300))
def test_line_of_any_bytes_gives_ids_or_a_printable_fault(line: bytes) -> None:
    found = parse_entry(line)
    assert all(task_id(each.task_id) == each.task_id for each in found.named)
    assert found.fault.isprintable()


@given(st.binary(max_size=40), st.sampled_from(PADDING), st.sampled_from(PADDING))
def test_line_with_what_nobody_sees_around_it_names_the_same(line: bytes, before: str, after: str) -> None:
    bare = parse_entry(line)
    if bare.named and not bare.fault:
        assert parse_entry(before.encode() + line + after.encode()) == bare


DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=9), DOCUMENTS, min_size=1, max_size=4), st.sampled_from([1, 2, 8, "\t"]))
def test_json_printed_over_several_lines_is_seen_to_go_on_until_its_end(document: object, indent: int | str) -> None:
    first, *rest = json.dumps(document, indent=indent, ensure_ascii=False).encode().splitlines(keepends=True)
    left = opened(first)
    for line in rest:
        assert left > 0
        assert goes_on(line)
        left += opened(line)
    assert left == 0
    assert begins_json(first) is bool(rest)


@pytest.mark.parametrize(
    "line", [ID, f"  {ID} \r\n", f"\t{ID} account=second", f"{ID},", "# note", f'{{"taskId": "{ID}"}}', "["]
)
def test_line_that_stands_for_itself_is_no_part_of_json_begun_before(line: str) -> None:
    assert not goes_on(line.encode())


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
