"""The words of titles, as each kind of database indexes them by itself: kept along by it, whoever writes a title.

SQLite: an FTS5 table that holds the words alone, numbered by `titles`, with triggers on `tasks`. Their numbers rise as
titles are given. PostgreSQL: an index of an expression.
"""

from __future__ import annotations

from sqlalchemy import Connection, column, table

titles = table("titles", column("number"), column("task_id"))
title_words = table("title_words", column("rowid"))
"""On SQLite alone. They are no tables of the ledger's: it can be read whole without them."""

WORDS = "to_tsvector('simple'::regconfig, regexp_replace(title, '[^[:alnum:]]+', ' ', 'g'))"
"""A title's words on PostgreSQL. Worded as its index is, so that it is used."""

_TAKE_OUT = """
INSERT INTO title_words (title_words, rowid, title)
    SELECT 'delete', number, OLD.title FROM titles WHERE task_id = OLD.task_id AND OLD.title IS NOT NULL;
"""
_PUT_IN = """
INSERT INTO titles (task_id)
    SELECT NEW.task_id WHERE NOT EXISTS (SELECT 1 FROM titles WHERE task_id = NEW.task_id);
INSERT INTO title_words (rowid, title) SELECT number, NEW.title FROM titles WHERE task_id = NEW.task_id;
"""
_REMOVE = "DELETE FROM titles WHERE task_id = OLD.task_id;"
_NEW, _NO_MORE = "NEW.title IS NOT NULL AND NEW.title IS NOT OLD.title", "NEW.title IS NULL AND OLD.title IS NOT NULL"
_ON_SQLITE = (
    "CREATE TABLE titles (number INTEGER PRIMARY KEY, task_id VARCHAR(128) NOT NULL UNIQUE)",
    "CREATE VIRTUAL TABLE title_words USING fts5(title, content='', tokenize='unicode61 remove_diacritics 2')",
    "INSERT INTO titles (task_id) SELECT task_id FROM tasks WHERE title IS NOT NULL ORDER BY accepted_at, task_id",
    "INSERT INTO title_words (rowid, title) SELECT number, title FROM titles JOIN tasks USING (task_id)",
    f"CREATE TRIGGER title_given AFTER INSERT ON tasks WHEN NEW.title IS NOT NULL BEGIN {_PUT_IN} END",
    f"CREATE TRIGGER title_changed AFTER UPDATE OF title ON tasks WHEN {_NEW} BEGIN {_TAKE_OUT}{_PUT_IN} END",
    f"CREATE TRIGGER title_taken AFTER UPDATE OF title ON tasks WHEN {_NO_MORE} BEGIN {_TAKE_OUT}{_REMOVE} END",
    f"CREATE TRIGGER title_gone AFTER DELETE ON tasks WHEN OLD.title IS NOT NULL BEGIN {_TAKE_OUT}{_REMOVE} END",
)
_ON_POSTGRESQL = (
    f"CREATE INDEX tasks_title_words ON tasks USING gin ({WORDS}) WHERE title IS NOT NULL",
    "CREATE INDEX tasks_by_prefix ON tasks (task_id varchar_pattern_ops)",
)


def make_word_index(db: Connection) -> None:
    """Make what finds titles by their words; on PostgreSQL also ids by their beginning, in whatever order it sorts."""
    for statement in _ON_SQLITE if db.dialect.name == "sqlite" else _ON_POSTGRESQL:
        db.exec_driver_sql(statement)
