"""The demo as a user starts it, and its own judgement of what came out."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import httpx
import pytest

from archiver.core.manifest import seal_of
from archiver.demo import show, song
from archiver.demo.others import LYRICS
from archiver.demo.pictures import film, picture
from tests.worlds.site import measured

DEMO = [sys.executable, "-m", "archiver", "demo"]
AUDIO = b"audio"


def environment(folder: Path) -> dict[str, str]:
    """What a user may have set, all of which would lead the service astray."""
    return {
        **{name: value for name, value in os.environ.items() if name in {"PATH", "HOME"}},
        **measured(),
        "TMPDIR": str(folder),
        "PYTHONPATH": str(Path(show.__file__).parents[2]),
        "COLUMNS": "80",
        "ARCHIVER_STORE__BUCKET": "another-bucket",
        "AWS_PROFILE": "nobody",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "ALL_PROXY": "http://127.0.0.1:9",
    }


def running_in(folder: Path) -> list[str]:
    """Processes whose working directory is below `folder`, where the demo's servers work."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink().is_relative_to(folder):
                found.append(process.name)
        except OSError:
            continue
    return found


def said_until_the_link(demo: subprocess.Popen[str]) -> str:
    """What the demo says until it names the link to its page; all of it where it ends before."""
    lines = list[str]()
    for line in demo.stdout or ():
        lines.append(line)
        if "/enter#" in line:
            break
    return "".join(lines)


def heard_by_the_page(output: str) -> tuple[str, bytes]:
    """The view of a task to a browser that went in by the link, and a piece of its vocal."""
    found = re.search(r"(http://[\d.:]+)/enter#(\S+)", output)
    assert found, output
    own = {"Origin": found[1], "Sec-Fetch-Site": "same-origin"}
    with httpx.Client(base_url=found[1], timeout=30) as client:
        entered = client.post("/enter", data={"token": found[2]}, headers=own)
        client.headers["Cookie"] = entered.headers["set-cookie"].partition(";")[0]
        view = client.get("/task/demo-split-stem").text
        url = re.search(r'data-name="vocal" data-url="([^"]+)"', view)
        assert url, view
        return view, client.get(unescape(url[1]), headers={"Range": "bytes=1000-2999"}).content


def test_demo_archives_the_song_and_shows_where_it_is(tmp_path: Path) -> None:
    temporary, kept = tmp_path / "tmp", tmp_path / "kept"
    temporary.mkdir()

    with subprocess.Popen(
        [*DEMO, "--page", "--keep", str(kept)],
        env=environment(temporary), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8",
    ) as demo:  # fmt: skip
        output = said_until_the_link(demo)
        view, piece = heard_by_the_page(output)
        demo.send_signal(signal.SIGTERM)
        assert demo.wait(60) == 0, output

    stems = song.stems()
    assert "safe: all" in view
    assert piece == stems["vocal"][1000:3000]
    folder = kept / "objects/stems"
    assert {path.name for path in folder.iterdir()} == {
        "demo-failed",
        "demo-separate", "demo-split-stem", "demo-pending", "demo-callback",
        "demo-market-job", "demo-music", "demo-wav", "demo-mp4", "demo-midi", "demo-cover", "demo-lyrics",
        "demo-veo", "demo-runway", "demo-aleph", "demo-4o-image", "demo-flux",
    }  # fmt: skip
    for name in song.INSTRUMENTS:
        assert (folder / f"demo-split-stem/{name}.mp3").read_bytes() == stems[name]
    assert (folder / "demo-market-job/vocal.mp3").read_bytes() == stems["vocal"]
    assert (folder / "demo-wav/audio_wav.wav").read_bytes() == song.wav()
    assert {path.read_bytes() for path in (folder / "demo-music").glob("*.mp3")} == {
        stems["origin"], stems["instrumental"],
    }  # fmt: skip
    assert (folder / "demo-lyrics/lyrics-01.txt").read_text() == LYRICS[0]
    assert (folder / "demo-midi/midi_file.mid").read_bytes().startswith(b"MThd")
    assert (folder / "demo-cover/image-02.png").read_bytes() == picture(shade=120)
    assert (folder / "demo-runway/image.png").read_bytes() == picture()
    assert (folder / "demo-veo/result-01.mp4").read_bytes() == film(picture(shade=90))
    line = f"stems/demo-split-stem/vocal.mp3            {len(stems['vocal']):,}   "
    assert line + hashlib.sha256(stems["vocal"]).hexdigest()[:12] in output
    assert "GENERATE_AUDIO_FAILED" in output
    assert f"{kept}/objects/stems/demo-split-stem/" in output
    before, _, after = output.partition("GENERATE_AUDIO_FAILED")
    assert re.search(r"One task is made to\s+fail", before), "the failure is announced"
    assert "a quarter of a minute" in before
    assert "stem-archiver init" in after
    assert not list(temporary.iterdir())
    assert not running_in(tmp_path)


def test_demo_refuses_a_folder_with_something_in_it(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()

    demo = subprocess.run(
        [*DEMO, "--keep", str(tmp_path)], env=environment(tmp_path), capture_output=True, text=True, check=False
    )

    assert demo.returncode == 2
    assert "is not empty" in demo.stdout + demo.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.fixture
def heeded_interrupt() -> Iterator[None]:
    """Let children heed SIGINT also where these tests run in a shell's background, which ignores it for all below."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.usefixtures("heeded_interrupt")
def test_demo_that_is_ended_leaves_nothing_running(tmp_path: Path, number: int) -> None:
    with subprocess.Popen(
        DEMO, env=environment(tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as demo:
        until = time.monotonic() + 60
        while not list(tmp_path.glob("stem-archiver-demo-*/ledger.sqlite")):
            assert time.monotonic() < until
            time.sleep(0.05)
        demo.send_signal(number)
        assert demo.wait(30) != 0

    assert not running_in(tmp_path)
    assert not list(tmp_path.glob("stem-archiver-*"))


# --- its judgement, in memory: the real run only ever sees what is right


def manifest(**stems: bytes) -> bytes:
    rows = [{"key": f"stems/task/{name}.mp3", "sha256": sha(data)} for name, data in stems.items()]
    document: dict[str, object] = {"stems": rows}
    return json.dumps(document | {"seal": f"sha256:{seal_of(document)}"}).encode()


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def judged(objects: dict[str, bytes]) -> list[str]:
    stored = [show._Stored(f"stems/task/{name}", data) for name, data in objects.items()]
    manifests = {"task": json.loads(objects["manifest.json"])}
    expected = {"stems/task/vocal.mp3": sha(AUDIO), "stems/task/manifest.json": None}
    return list(show._differences(stored, manifests, expected))


def test_no_difference_is_seen_where_all_is_right() -> None:
    assert judged({"vocal.mp3": AUDIO, "manifest.json": manifest(vocal=AUDIO)}) == []


@pytest.mark.parametrize(
    ("objects", "difference"),
    [
        ({"manifest.json": manifest(vocal=AUDIO)}, "stems/task/vocal.mp3: is not in the bucket"),
        (
            {"vocal.mp3": AUDIO, "bass.mp3": AUDIO, "manifest.json": manifest(vocal=AUDIO, bass=AUDIO)},
            "stems/task/bass.mp3: should not be in the bucket",
        ),
        (
            {"vocal.mp3": b"other", "manifest.json": manifest(vocal=b"other")},
            "stems/task/vocal.mp3: is not what the provider had",
        ),
        (
            {"vocal.mp3": AUDIO, "manifest.json": manifest(vocal=b"other")},
            "stems/task/manifest.json: says other than what the bucket holds",
        ),
        (
            {"vocal.mp3": AUDIO, "manifest.json": manifest(vocal=AUDIO).replace(b"sha256:", b"sha256:0")},
            "stems/task/manifest.json: its seal is broken",
        ),
    ],
)
def test_each_difference_is_seen(objects: dict[str, bytes], difference: str) -> None:
    assert difference in judged(objects)
