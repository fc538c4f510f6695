"""Files that are written all or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from archiver.app.setup import NewFile, write


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(130), OSError("full")])
def test_what_is_broken_off_leaves_nothing(error: BaseException, tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"

    def files() -> Iterator[NewFile]:
        yield NewFile(folder / "one", "1", 0o644, "")
        yield NewFile(folder / "two", "2", 0o600, "")
        raise error

    with pytest.raises(type(error)):
        write(files())
    assert list(tmp_path.iterdir()) == []
