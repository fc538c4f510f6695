"""Short ways to records and to what is read of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from archiver.core.model import RecordInfo
from tests import FIXTURES

EXAMPLES = {
    example["name"]: example for example in json.loads((FIXTURES / "record-info-examples.json").read_text("utf-8"))
}

SEPARATED = datetime(2025, 7, 29, 9, 54, 14, tzinfo=UTC)
ID = "3d7021c9-fa8b-4eda-91d1-3b9297ddb172"


def response(**fields: object) -> dict[str, object]:
    return {"response": fields, "successFlag": "SUCCESS"}


def urls(record: RecordInfo) -> dict[str, str]:
    """By name: the address, or why there is none."""
    return {stem.name: stem.url or stem.not_taken for stem in record.stems}


def item(url: str, group: str = "", **more: object) -> dict[str, object]:
    return {"audio_url": url, "stem_type_group_name": group, **more}
