"""Queries that write although they begin as one that reads, where a session cannot refuse them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sqlglot import Token, TokenType
from sqlglot.dialects.mysql import MySQL
from sqlglot.dialects.oracle import Oracle
from sqlglot.dialects.tsql import TSQL
from sqlglot.errors import TokenError

from openreg_airflow.errors import SpecError

if TYPE_CHECKING:
    from sqlglot.dialects.dialect import Dialect

    from openreg_airflow.extract.query import Query

#: Reserved words of T-SQL that begin a statement. They are no names unless quoted, so wherever one
#: stands, a statement begins: T-SQL needs no semicolon between two.
#: https://learn.microsoft.com/en-us/sql/t-sql/language-elements/reserved-keywords-transact-sql
_BEGINNINGS = frozenset(
    {
        "ADD", "ALTER", "BACKUP", "BEGIN", "BREAK", "BULK", "CHECKPOINT", "CLOSE", "COMMIT",
        "CONTINUE", "CREATE", "DBCC", "DEALLOCATE", "DECLARE", "DELETE", "DENY", "DROP", "EXEC",
        "EXECUTE", "EXIT", "FETCH", "GOTO", "GRANT", "IF", "INSERT", "INTO", "KILL", "LOAD",
        "MERGE", "OPEN", "PRINT", "PROC", "PROCEDURE", "RAISERROR", "READTEXT", "RECONFIGURE",
        "RESTORE", "RETURN", "REVERT", "REVOKE", "ROLLBACK", "SAVE", "SET", "SETUSER", "SHUTDOWN",
        "TRAN", "TRANSACTION", "TRUNCATE", "UPDATE", "UPDATETEXT", "USE", "WAITFOR", "WHILE",
        "WRITETEXT",
    }
)  # fmt: skip
#: Those of them that a query may hold, before these words: of paging, joins and hints.
_INSIDE = {
    "FETCH": ("NEXT", "FIRST"),
    "MERGE": ("JOIN", "UNION"),
    "USE": ("HINT", "PLAN"),
}
#: What T-SQL reads by running a statement elsewhere, or in a language of its own.
_PASSED_ON = frozenset({"OPENQUERY", "OPENROWSET", "OPENDATASOURCE"})


#: What ends a string or name, or does not, by NO_BACKSLASH_ESCAPES and ANSI_QUOTES.
_SOMETIMES_AN_END = re.compile(r"""\\['"`]""")
_TO_A_FILE = re.compile(r"\b(?:OUTFILE|DUMPFILE)\b", re.IGNORECASE)


def refuse_writing(query: Query) -> None:
    """Refuse what a READ ONLY transaction lets through: SELECT ... INTO writes files.

    Raises:
        SpecError: the query has an INTO, or a comment that the server executes; or it may have one,
            by the server's sql_mode.
    """
    if _SOMETIMES_AN_END.search(query.text) and (found := _TO_A_FILE.search(query.text)):
        message = f"a quote behind a backslash may end a string, and {found[0]} may then write"
        raise SpecError(message, where=query.file, hint="Bind that text as a parameter.")
    for token in _tokens(MySQL(), query):
        if token.token_type is TokenType.INTO:
            message = "this does more than read: SELECT INTO"
            raise SpecError(message, where=query.file, hint="Leave the INTO out.")
        if any(text.startswith(("!", "M!")) for text in token.comments):
            message = "a comment that the server executes (/*! */) is not accepted"
            raise SpecError(message, where=query.file, hint="Write what it holds without it.")


def refuse_other_statements(query: Query) -> None:
    """Refuse T-SQL that does anything else than one reading query, word by word.

    SQL Server has no session that can only read. What a query writes is rolled back, but not the
    next value of a sequence, not what a linked server is told, and nothing after a COMMIT.

    Raises:
        SpecError: a word begins another statement, or hands one on.
    """
    quoted = (TokenType.IDENTIFIER, TokenType.STRING, TokenType.NATIONAL_STRING)
    tokens = _tokens(TSQL(), query)
    words = [
        word
        for token in tokens
        for word in ([""] if token.token_type in quoted else token.text.upper().split())
    ]
    for number, word in enumerate(words):
        following = words[number + 1 : number + 3]
        if word in _BEGINNINGS and not set(following[:1]) & set(_INSIDE.get(word, ())):
            message = f"this does more than read: {word}"
            raise SpecError(message, where=query.file, hint="Put names like it in [brackets].")
        if word in _PASSED_ON:
            message = f"{word} hands a statement on, which is not checked"
            hint = "Read a linked server by names of four parts."
            raise SpecError(message, where=query.file, hint=hint)
        before = words[max(number - 3, 0) : number]
        if word == "CALL" and (before[-1:] == ["{"] or before == ["{", "?", "="]):
            message = "this does more than read: the ODBC driver makes EXEC of {call}"
            raise SpecError(message, where=query.file, hint="Leave it out.")
        if word == "NEXT" and following == ["VALUE", "FOR"]:
            message = "this does more than read: NEXT VALUE FOR moves a sequence"
            raise SpecError(message, where=query.file, hint="Leave it out.")


def refuse_sequences(query: Query) -> None:
    """Refuse what Oracle's READ ONLY transaction lets through: the next value of a sequence.

    Raises:
        SpecError: the query asks for one.
    """
    quoted = (TokenType.STRING, TokenType.NATIONAL_STRING)
    for token in _tokens(Oracle(), query):
        if token.token_type not in quoted and token.text.upper() == "NEXTVAL":
            message = "this does more than read: NEXTVAL moves a sequence"
            raise SpecError(message, where=query.file, hint="Leave it out.")


def _tokens(language: Dialect, query: Query) -> list[Token]:
    """The query's tokens; where a string ends differs between databases."""
    try:
        return list(language.tokenize(query.text))
    except TokenError as error:
        name = type(language).__name__
        message = f"a string, a quoted name or a comment is not closed, as {name} reads it"
        hint = "Is there a backslash or a quote that databases read differently? Bind that value."
        raise SpecError(message, where=query.file, hint=hint) from error
