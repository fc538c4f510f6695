"""Objects of JSON that name a key twice: nothing that may be an address is lost for it."""

from __future__ import annotations


def object_from(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return the object; a key that is named again has a list of what may be addresses, else its last value."""
    found = dict(pairs)
    return found if len(found) == len(pairs) else _merged(pairs)


def _merged(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values: dict[str, list[object]] = {}
    for key, value in pairs:
        values.setdefault(key, []).append(value)
    return {key: _one_of(each) for key, each in values.items()}


def _one_of(values: list[object]) -> object:
    addresses = dict.fromkeys(each for each in values if isinstance(each, str) and "/" in each)
    holders = [each for each in values if isinstance(each, dict | list) and each]
    several = [*addresses, *holders]
    if len(several) > 1:
        return several
    filled = [each for each in values if each is not None and each != ""]
    return several[0] if several else [*values, *filled][-1]
