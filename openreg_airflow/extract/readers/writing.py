"""Queries that write although they begin as one that reads, where a session cannot refuse them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import TokenType
from sqlglot.dialects.mysql import MySQL

from openreg_airflow.errors import SpecError

if TYPE_CHECKING:
    from openreg_airflow.extract.query import Query


def refuse_writing(query: Query) -> None:
    """Refuse what a READ ONLY transaction lets through: SELECT ... INTO writes files.

    Raises:
        SpecError: the query has an INTO, or a comment that the server executes.
    """
    for token in MySQL().tokenize(query.text):
        if token.token_type is TokenType.INTO:
            message = "this does more than read: SELECT INTO"
            raise SpecError(message, where=query.file, hint="Leave the INTO out.")
        if any(text.startswith(("!", "M!")) for text in token.comments):
            message = "a comment that the server executes (/*! */) is not accepted"
            raise SpecError(message, where=query.file, hint="Write what it holds without it.")
