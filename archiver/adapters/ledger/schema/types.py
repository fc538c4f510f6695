"""The types of columns that no database has by itself."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Dialect, String, TypeDecorator

from archiver.core.clocks import EPOCH, MICROSECOND, microseconds


class UtcTime(TypeDecorator[datetime]):
    """An aware datetime, kept as whole microseconds since 1970 UTC."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Python to column."""
        return None if value is None else microseconds(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Column to Python."""
        return None if value is None else EPOCH + value * MICROSECOND


class Unsigned(TypeDecorator[int]):
    """An integer of any size, kept as text: inode numbers may not fit a signed 64-bit column."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Python to column."""
        return None if value is None else str(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> int | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Column to Python."""
        return None if value is None else int(value)
