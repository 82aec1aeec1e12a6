"""A query of a report: one reading statement, its parameters found, nothing else accepted.

The SQL is split into tokens in the database's own dialect, so a colon in a cast (``::numeric``),
a string, a quoted name or a comment is never taken for a parameter. Values are not put into the
text: a reader spells each parameter as its driver wants it and binds the value.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import sqlglot
from sqlglot import Token, TokenType, exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import ParseError, TokenError

from openreg_airflow.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from openreg_airflow.extract.parameter import Value

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: A text or a name that is one parameter, or begins with an expression of a template.
_QUOTED = re.compile(r":([A-Za-z_][A-Za-z0-9_]*)")
_TEMPLATE = re.compile(r"\s*\{\{.*\}\}", re.DOTALL)
_QUOTES = {kind for kind in TokenType if kind.name.endswith("STRING")} | {TokenType.IDENTIFIER}
_READS = ("SELECT", "WITH", "VALUES", "TABLE", "(")
_WRITES = (exp.DML, exp.DDL, exp.Into, exp.Lock, exp.Command)


class QueryError(SpecError):
    """The SQL file is missing, or is not one query that reads.

    Attributes:
        line, column: 1-based place in the file, where it is known.
    """

    line: int | None = None
    column: int | None = None


@dataclass(frozen=True)
class Placeholder:
    """A parameter's place in a query; ``offset`` counts characters from the start of the file."""

    name: str
    offset: int


class Added(str):
    """A piece of a query that is not in its file."""

    __slots__ = ()


@dataclass(frozen=True)
class Rendered:
    """A query as one driver takes it.

    Attributes:
        text: the SQL with the driver's own parameter marks.
        starts: for each piece its offset in ``text`` and in the file, both ascending.
    """

    text: str
    starts: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Query:
    """One checked query.

    Attributes:
        file: the SQL file's name as the spec spells it.
        text: the file's content.
        pieces: the statement in order: text, and placeholders between.
        parameters: the value of each parameter that the query may use.
        ordered: the rows come in an order that the query itself asks for.
        understood: false when only the tokens were checked, since the grammar of this SQL is
            beyond the parser; the database's read-only session is then the fence.
    """

    file: str
    text: str
    pieces: tuple[str | Placeholder, ...]
    parameters: Mapping[str, Value | tuple[Value, ...]]
    ordered: bool
    understood: bool

    @property
    def sha256(self) -> str:
        """Hash of the SQL file's text."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def used(self) -> dict[str, Value | tuple[Value, ...]]:
        """The parameters that occur in the query."""
        names = {piece.name for piece in self.pieces if isinstance(piece, Placeholder)}
        return {name: value for name, value in self.parameters.items() if name in names}

    def render(self, spell: Callable[[str], str]) -> Rendered:
        """The query with each parameter spelled by ``spell``, which is given its name."""
        parts: list[str] = []
        starts: list[tuple[int, int]] = []
        offset = origin = 0
        for piece in self.pieces:
            if isinstance(piece, Placeholder):
                part, origin = spell(piece.name), piece.offset
                following = piece.offset + len(piece.name) + 1
            else:
                part = piece
                following = origin if isinstance(piece, Added) else origin + len(piece)
            starts.append((offset, origin))
            parts.append(part)
            offset += len(part)
            origin = following
        return Rendered("".join(parts), tuple(starts))

    def place(self, rendered: Rendered, position: int) -> str:
        """The place in the file of a 0-based character ``position`` in a rendered query."""
        position = min(position, len(rendered.text))
        index = max(bisect_right(rendered.starts, position, key=lambda start: start[0]) - 1, 0)
        start, origin = rendered.starts[index]
        inside = 0 if isinstance(self.pieces[index], Placeholder) else position - start
        line, column = line_and_column(self.text, origin + inside)
        return f"{self.file}, line {line}, column {column}"


def read(folder: Path, file: str) -> str:
    """The text of a report's SQL file.

    Raises:
        QueryError: it is missing, unreadable or empty.
    """
    path = folder / file
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        message = f"the SQL file {path} is missing"
        raise QueryError(message, where=file, hint="Create it, or correct `sql:`.") from error
    except UnicodeDecodeError as error:
        message = f"the SQL file {path} is not UTF-8: {error.reason} at byte {error.start}"
        raise QueryError(message, where=file, hint="Save it as UTF-8.") from error
    except OSError as error:
        message = f"the SQL file {path} cannot be read: {error.strerror}"
        raise QueryError(message, where=file) from error
    if not text.strip():
        message = f"the SQL file {path} is empty"
        raise QueryError(message, where=file, hint="Write one query that reads.")
    return text


def parse(
    text: str, *, file: str, dialect: str, parameters: Mapping[str, Value | tuple[Value, ...]]
) -> Query:
    """Check the SQL of a source and find its parameters.

    Args:
        text: content of the SQL file.
        file: its name, for errors.
        dialect: sqlglot's name of the database's SQL.
        parameters: the parameters that the query may use, with their values.

    Raises:
        QueryError: there is no statement or more than one, it does something else than reading,
            it uses a parameter that does not exist or quotes one, or it is a template.
    """
    tokens = _one_statement(_tokens(text, file, dialect), text, file)
    _refuse_quoted(tokens, text, file, parameters)
    pieces = _pieces(tokens, text, file, parameters)
    body = text[: tokens[-1].end + 1]
    tree = _tree(body, file, dialect, tokens[0])
    return Query(
        file=file,
        text=text,
        pieces=pieces,
        parameters=parameters,
        ordered=tree is not None and _ordered(tree),
        understood=tree is not None,
    )


def refuse_hidden_parameters(query: Query, dialect: str, product: str) -> None:
    """Refuse a parameter that is part of a string or comment in a database's own SQL.

    For a query that was read in another dialect than its database's, which knows no dollar quotes
    and no backslash before a quote: a driver's mark would become part of the text.

    Args:
        query: as it was read.
        dialect: sqlglot's name of the database's SQL.
        product: the database, for the error.

    Raises:
        QueryError: there is one.
    """
    try:
        tokens = list(Dialect.get_or_raise(dialect).tokenize(query.text))
    except TokenError:
        return  # the database refuses it
    colons = {token.start for token in tokens if token.token_type is TokenType.COLON}
    for piece in query.pieces:
        if not isinstance(piece, Placeholder) or piece.offset in colons:
            continue
        if query.text.startswith(f":{piece.name}", piece.offset):
            message = (
                f"{product} takes the parameter :{piece.name} for a part of a string or comment"
            )
            hint = "Write the text in single quotes, without backslashes before them."
            raise _fault(message, query.text, query.file, piece.offset, hint=hint)


def line_and_column(text: str, offset: int) -> tuple[int, int]:
    """1-based line and column of a 0-based character offset."""
    before = text[:offset]
    return before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1


def _tokens(text: str, file: str, dialect: str) -> list[Token]:
    language = Dialect.get_or_raise(dialect)
    try:
        return list(language.tokenize(text))
    except TokenError as error:
        offset = _last_sound(language, text)
        message = "a string, a quoted name or a comment is not closed"
        raise _fault(message, text, file, offset) from error


def _last_sound(language: Dialect, text: str) -> int:
    """Where the fault begins, to the line: after the longest part that can be split into tokens."""
    lines = text.splitlines(keepends=True)
    for count in range(len(lines) - 1, 0, -1):
        part = "".join(lines[:count])
        try:
            language.tokenize(part)
        except TokenError:
            continue
        return len(part)
    return 0


def _one_statement(tokens: list[Token], text: str, file: str) -> list[Token]:
    statement: list[Token] = []
    ended = False
    for token in tokens:
        if token.token_type is TokenType.SEMICOLON:
            ended = bool(statement)
        elif ended:
            message = "there is more than one statement"
            raise _fault(message, text, file, token.start, hint="Leave one query in the file.")
        else:
            statement.append(token)
    if not statement:
        message = "there is no statement"
        raise _fault(message, text, file, 0, hint="Write one query that reads.")
    return statement


def _refuse_quoted(
    tokens: list[Token], text: str, file: str, parameters: Mapping[str, Any]
) -> None:
    """Refuse what some databases take for plain text, with which they then find no row."""
    for index, token in enumerate(tokens):
        if token.token_type in _QUOTES:
            quoted = _QUOTED.fullmatch(token.text)
            if quoted and quoted[1] in parameters:
                message = f"the parameter {token.text} is in quotes, which makes it mere text"
                hint = f"Parameters are not quoted: write {token.text} alone."
                raise _fault(message, text, file, token.start, hint=hint)
            template = bool(_TEMPLATE.match(token.text))
        else:
            template = token.token_type is TokenType.BLOCK_START or (
                token.token_type is TokenType.L_BRACE
                and [one.token_type for one in tokens[index + 1 : index + 2]] == [TokenType.L_BRACE]
            )
        if template:
            message = "this is an expression of a template, and SQL files are not templated"
            known = ", ".join(f":{name}" for name in parameters)
            hint = f"Write a parameter, without quotes: {known}."
            raise _fault(message, text, file, token.start, hint=hint)


def _pieces(
    tokens: list[Token], text: str, file: str, parameters: Mapping[str, Any]
) -> tuple[str | Placeholder, ...]:
    pieces: list[str | Placeholder] = []
    done = 0
    for index, (colon, word) in enumerate(pairwise(tokens)):
        name = text[word.start : word.end + 1]
        if (
            colon.token_type is not TokenType.COLON
            or word.start != colon.end + 1
            or not _NAME.fullmatch(name)
        ):
            continue
        if name not in parameters:
            raise _unknown(name, parameters, text, file, colon.start)
        if isinstance(parameters[name], tuple):
            around = (tokens[index - 1 : index] or [colon]) + (tokens[index + 2 : index + 3])
            if [token.token_type for token in around] != [TokenType.L_PAREN, TokenType.R_PAREN]:
                message = f"the list :{name} does not stand alone in parentheses"
                hint = f"Write IN (:{name})."
                raise _fault(message, text, file, colon.start, hint=hint)
        pieces += [text[done : colon.start], Placeholder(name, colon.start)]
        done = word.end + 1
    pieces.append(text[done : tokens[-1].end + 1])
    return tuple(pieces)


def _unknown(
    name: str, parameters: Mapping[str, Any], text: str, file: str, offset: int
) -> QueryError:
    close = difflib.get_close_matches(name.lower(), parameters, n=1)
    known = ", ".join(f":{known}" for known in sorted(parameters))
    hint = f"Did you mean :{close[0]}?" if close else f"Known are {known}."
    hint += " If it is no parameter, write a space after the colon."
    return _fault(f"the parameter :{name} is not declared", text, file, offset, hint=hint)


def _tree(body: str, file: str, dialect: str, first: Token) -> Any:
    keyword = body[first.start : first.end + 1].upper()
    hint = "A source is one SELECT; it may begin with WITH."
    if keyword not in _READS:
        message = f"{keyword} is not a query that reads"
        raise _fault(message, body, file, first.start, hint=hint)
    try:
        tree = sqlglot.parse_one(body[first.start :], read=dialect)  # no semicolons before it
    except ParseError:
        return None
    written = next(iter(tree.find_all(*_WRITES)), None)
    if written is None and isinstance(tree, exp.Query | exp.Values | exp.Table):
        return tree
    kind = type(written or tree).__name__
    kind = {"Lock": "FOR UPDATE or FOR SHARE", "Into": "SELECT INTO"}.get(kind, kind.upper())
    message = f"this does more than read: {kind}" if written else "this is not a query"
    raise _fault(message, body, file, first.start, hint=hint)


def _ordered(tree: Any) -> bool:
    while isinstance(tree, exp.Subquery) and not tree.args.get("order"):
        tree = tree.this
    return bool(tree.args.get("order"))


def grammar_fault(text: str, *, file: str, dialect: str) -> QueryError | None:
    """What a parser of the dialect finds wrong with the grammar of a SQL file, if anything."""
    try:
        sqlglot.parse(text, read=dialect)
    except TokenError:
        return None  # parse() has said so, with its place
    except ParseError as error:
        found = error.errors[0] if error.errors else {}
        said = str(found.get("description") or error).split("\n", 1)[0].rstrip(".")
        if said.startswith("Required keyword"):  # named after the parser's own classes
            said = "something is missing here"
        marked = str(found.get("highlight") or "")
        fault = QueryError(f"this SQL is not understood: {said}", where=file)
        fault.line = found.get("line")
        if fault.line and found.get("col"):
            # The parser counts to the end of the token that it stopped at.
            fault.column = max(int(found["col"]) - len(marked) + 1, 1)
            fault.where = f"{file}, line {fault.line}, column {fault.column}"
        return fault
    return None


def _fault(
    message: str, text: str, file: str, offset: int, *, hint: str | None = None
) -> QueryError:
    line, column = line_and_column(text, offset)
    fault = QueryError(message, where=f"{file}, line {line}, column {column}", hint=hint)
    fault.line, fault.column = line, column
    return fault
