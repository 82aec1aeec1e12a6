"""Any database with an ODBC driver: rows in bulk, straight into Arrow.

ODBC drivers differ in what they say of a column and in what they do with a value, so nothing that
may lose digits is left to them: decimals and 64-bit integers come as the driver's text and are
converted exactly. What a session needs beyond ODBC (a time zone, a read-only transaction, a way to
stop a query) is known for the databases of :mod:`openreg_airflow.extract.readers.odbc_products`.
The driver works in a process of its own, see
:mod:`openreg_airflow.extract.readers.odbc_session`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from openreg_airflow.errors import SpecError
from openreg_airflow.extract.query import refuse_hidden_parameters
from openreg_airflow.extract.readers.odbc_session import OdbcSession
from openreg_airflow.extract.readers.writing import refuse_other_statements, refuse_writing

if TYPE_CHECKING:
    from openreg_airflow.extract.query import Query
    from openreg_airflow.extract.reader import Session, SourceConnection
    from openreg_airflow.extract.readers.odbc_products import Product

#: The widest text or binary value, where the connection's extra names no other. The driver needs
#: the room for every row of a batch, whatever the values are. A longer value is an error.
_WIDEST = 8_192
WIDEST_OPTION = "max_text_size"

#: PostgreSQL's driver decodes a password as a URL's, unless it stands in braces.
_DECODED = "%+"

#: What an extra may hold that is not for the driver.
_NOT_THE_DRIVERS = frozenset(
    {"driver", "dsn", "connect_kwargs", "sqlalchemy_scheme", "placeholder", WIDEST_OPTION}
)


class OdbcReader:
    """Reads through an installed ODBC driver, which the connection's extra or DSN names."""

    dialect = ""

    def open(self, connection: SourceConnection, *, timeout_seconds: int) -> Session:
        """Log in and make the session a reading one.

        Raises:
            SourceError: the driver, the login, the database or the options are refused.
            SourceUnavailableError: the server cannot be reached or takes no more sessions.
            SpecError: the connection names no driver, or an option that it cannot mean.
        """
        session = OdbcSession(connection_string(connection), refuse)
        try:
            session.begin(
                conn_id=connection.conn_id,
                widest=widest_value(connection, _WIDEST),
                timeout_seconds=timeout_seconds,
                force_tls=_forces_tls(connection),
            )
            check_tls(connection, session.product)
        except BaseException:
            session.close()
            raise
        return session


def refuse(query: Query, product: Product) -> None:
    """Refuse a query that does more than read and that a session of the product would let through.

    Raises:
        SpecError: the query does, or it is not understood and no session of the product only reads;
            or a parameter is part of a string or comment in the product's own SQL.
    """
    if product.dialect:
        refuse_hidden_parameters(query, product.dialect, product.name)
    fenced = bool(product.begin)
    if product.writes_files or not fenced:
        refuse_writing(query)
    if product.several_results or not (fenced or query.understood):
        refuse_other_statements(query)


def check_tls(connection: SourceConnection, product: Product) -> None:
    """Refuse a word for TLS that the product's driver takes for none, before anything is read.

    Raises:
        SpecError: the connection's extra has such a word.
    """
    for key, value in connection.extra.items():
        word = str(value)
        if (
            product.tls_initials
            and key.lower() == "sslmode"
            and word[:1] not in product.tls_initials
        ):
            message = (
                f"connection {connection.conn_id}: {key} {word!r} is none of the driver's words"
            )
            hint = "Write it in small letters, for example `require`: of others it makes no TLS."
            raise SpecError(message, hint=hint)


def _forces_tls(connection: SourceConnection) -> bool:
    extra = {key.lower(): str(value) for key, value in connection.extra.items()}
    return extra.get("forcetls", "0").lower() not in ("", "0", "false")


def connection_string(connection: SourceConnection) -> str:
    """ODBC's connection string, with the parts in OdbcHook's order.

    Raises:
        SpecError: neither a driver nor a DSN is named, or a part would end the string.
    """
    extra = {key.lower(): value for key, value in connection.extra.items()}
    if not extra.get("driver") and not extra.get("dsn"):
        message = f"connection {connection.conn_id} names neither an ODBC driver nor a DSN"
        raise SpecError(message, hint="Set `driver` or `dsn` in the connection's extra.")
    parts = {
        "DSN": extra.get("dsn"),
        "SERVER": connection.host,
        "DATABASE": connection.database,
        "UID": connection.login,
        "PWD": connection.password,
        "PORT": connection.port,
    }
    driver = f"DRIVER={{{str(extra['driver']).strip('{} ')}}};" if extra.get("driver") else ""
    options = {k: v for k, v in connection.extra.items() if k.lower() not in _NOT_THE_DRIVERS}
    text = driver + "".join(
        f"{key}={quoted(value, _DECODED if key == 'PWD' else '')};"
        for key, value in (parts | options).items()
        if value is not None
    )
    if "\0" in text:  # what follows it, port or TLS for example, would not be asked for
        message = f"connection {connection.conn_id} has a character of code 0 in a part"
        raise SpecError(message, hint="Write the login, password and extra anew.")
    return text


def quoted(value: object, more: str = "") -> str:
    """A value as ODBC has it; in braces only if it must be, since drivers keep them in some.

    Args:
        value: is spelled as text.
        more: letters that need braces beside those of ODBC.
    """
    text = str(value)
    plain = text == text.strip() and not set(text) & set("[]{}(),;?*=!@" + more)
    return text if plain and text else "{" + text.replace("}", "}}") + "}"


def widest_value(connection: SourceConnection, otherwise: int) -> int:
    """Bytes that a text or binary value may have, as the connection's extra says.

    Raises:
        SpecError: it says no number.
    """
    given = str(connection.extra.get(WIDEST_OPTION, otherwise))
    if not given.isdigit() or not int(given):
        message = f"connection {connection.conn_id}: {WIDEST_OPTION} {given!r} is no size in bytes"
        raise SpecError(message, hint=f"Write a number in the extra, for example {otherwise}.")
    return int(given)
