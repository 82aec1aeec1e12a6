"""SQL Server and Azure SQL, through an ODBC driver that is found, not configured.

The provider's own driver hands over Python objects row by row and cuts ``datetime2`` to
microseconds without a word. An ODBC driver gives all digits, and whole batches; see
:mod:`openreg_airflow.extract.readers.odbc_session`. Microsoft's driver is taken where it is
installed, by the system or by the extra ``sqlserver``; FreeTDS otherwise.

The connection is the provider's: its extra holds the options of ``pymssql.connect``, and may hold
keywords of the ODBC driver. What a session needs to be a reading one is in
:mod:`openreg_airflow.extract.readers.odbc_products`.
"""

from __future__ import annotations

import logging
import platform
import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyodbc

from openreg_airflow.errors import SpecError
from openreg_airflow.extract.readers.odbc import WIDEST_OPTION, quoted, widest_value
from openreg_airflow.extract.readers.odbc_products import SQL_SERVER
from openreg_airflow.extract.readers.odbc_session import LOGIN_SECONDS, OdbcSession
from openreg_airflow.extract.readers.writing import refuse_other_statements

if TYPE_CHECKING:
    from collections.abc import Mapping

    from openreg_airflow.extract.reader import Session, SourceConnection

log = logging.getLogger(__name__)

_FREETDS = "FreeTDS"
_PORT = 1433
#: A value of the longest NVARCHAR(n) and VARBINARY(n) fits.
_WIDEST = 16_000

#: pymssql's words for TLS in those of Microsoft's driver; without one, its own: it insists.
_ENCRYPTION = {"off": "no", "request": "optional", "require": "yes", "strict": "strict"}
_ISOLATION = ("read committed", "read uncommitted", "repeatable read", "serializable", "snapshot")

#: Keywords of the drivers that an extra may hold.
_KEYWORDS = frozenset(
    {
        "applicationintent", "authentication", "encrypt", "hostnameincertificate",
        "ipaddresspreference", "keepalive", "keepaliveinterval", "multisubnetfailover",
        "servercertificate", "serverspn", "trusted_connection", "trustservercertificate", "wsid",
    }
)  # fmt: skip
#: What concerns pymssql's own way of reading; the spec and this reader say those things.
_NO_MATTER = frozenset(
    {"arraysize", "as_dict", "autocommit", "charset", "sqlalchemy_scheme", "timeout"}
    | {"use_datetime2", "tds_version"}
)
_OURS = frozenset({"appname", "conn_properties", "encryption", "isolation_level", "login_timeout"})


class MssqlReader:
    """Reads SQL Server 2016 and newer, and Azure SQL."""

    dialect = "tsql"

    def open(self, connection: SourceConnection, *, timeout_seconds: int) -> Session:
        """Log in and begin the transaction that is never committed.

        Raises:
            SpecError: no driver is installed, or the connection's extra is wrong.
            SourceError: the login, the database or the options are refused.
            SourceUnavailableError: the server cannot be reached or takes no more sessions.
        """
        driver = installed_driver()
        log.info("Reading SQL Server through the ODBC driver %s", driver)
        session = OdbcSession(
            connection_string(connection, driver), lambda query, _: refuse_other_statements(query)
        )
        try:
            session.begin(
                conn_id=connection.conn_id,
                widest=widest_value(connection, _WIDEST),
                timeout_seconds=timeout_seconds,
                login_seconds=_login_seconds(connection),
                begin=_first_statements(connection),
                product=SQL_SERVER.name,
            )
        except BaseException:
            session.close()
            raise
        return session


def installed_driver() -> str:
    """The driver to use, by name or file: Microsoft's newest, or FreeTDS.

    Raises:
        SpecError: none is installed.
    """
    names = pyodbc.drivers()
    numbered = [
        (int(found[1]), name)
        for name in names
        if (found := re.fullmatch(r"ODBC Driver (\d+) for SQL Server", name))
    ]
    if numbered:
        return str(max(numbered)[1])
    if packaged := packaged_driver():
        return packaged
    if _FREETDS in names:
        return _FREETDS
    message = "no ODBC driver for SQL Server is installed"
    hint = "Install openreg-airflow[sqlserver], Microsoft's msodbcsql18, or Debian's tdsodbc."
    raise SpecError(message, hint=hint)


def packaged_driver() -> str | None:
    """The file of Microsoft's driver in its Python package, if that is installed."""
    package = find_spec("mssql_python_odbc")
    if package is None or not package.submodule_search_locations:
        return None
    libraries = Path(package.submodule_search_locations[0], "libs", "linux")
    families = ("debian_ubuntu", "rhel") if Path("/etc/debian_version").exists() else ("rhel",)
    machine = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
    for family in families:
        for file in sorted(libraries.glob(f"{family}/{machine}/lib/libmsodbcsql-*.so.*")):
            return str(file)
    return None


def connection_string(connection: SourceConnection, driver: str) -> str:
    """ODBC's connection string for one of the two drivers.

    Raises:
        SpecError: the extra holds what neither pymssql nor a driver knows.
    """
    extra = {str(key).lower(): value for key, value in connection.extra.items()}
    unknown = extra.keys() - _KEYWORDS - _NO_MATTER - _OURS - {"read_only", WIDEST_OPTION}
    if unknown:
        message = f"connection {connection.conn_id}: {min(unknown)} is no option of SQL Server"
        raise SpecError(message, hint="Remove it from the extra, or correct its name.")
    free = driver == _FREETDS
    parts = _server(connection, free=free) | {
        "DATABASE": connection.database,
        "UID": connection.login,
        "PWD": connection.password,
        "APP": extra.get("appname", "openreg"),
        "ApplicationIntent": "ReadOnly" if _truth(extra.get("read_only", True)) else "ReadWrite",
    }
    parts |= _free_options(extra) if free else _microsoft_options(connection.conn_id, extra)
    options = {k: v for k, v in connection.extra.items() if str(k).lower() in _KEYWORDS}
    parts = {k: v for k, v in parts.items() if k.lower() not in extra.keys() & _KEYWORDS}
    given = {k: v for k, v in (parts | options).items() if v is not None and v != ""}
    spell = _quoted_for_freetds if free else quoted
    return f"DRIVER={{{driver}}};" + "".join(f"{k}={spell(v)};" for k, v in given.items())


def _quoted_for_freetds(value: object) -> str:
    """FreeTDS reads braces to the first ``};``, and takes a doubled one for two."""
    if "};" in (text := str(value)):
        message = "FreeTDS takes no value with '};' in it, like this connection has"
        raise SpecError(message, hint="Change it, or install Microsoft's driver.")
    return f"{{{text}}}" if quoted(text) != text else text


def _server(connection: SourceConnection, *, free: bool) -> dict[str, Any]:
    host = connection.host or "localhost"
    if "\\" in host and not connection.port:  # an instance's name, whose port is asked for
        return {"SERVER": host}
    port = connection.port or _PORT
    return {"SERVER": host, "PORT": port} if free else {"SERVER": f"{host},{port}"}


def _microsoft_options(conn_id: str, extra: Mapping[str, Any]) -> dict[str, Any]:
    word = str(extra.get("encryption", "")).lower()
    if word and word not in _ENCRYPTION:
        message = f"connection {conn_id}: encryption {word!r} is none of {', '.join(_ENCRYPTION)}"
        raise SpecError(message, hint="Correct it in the extra.")
    # A connection that the driver mends by itself would have lost its transaction.
    return {"Encrypt": _ENCRYPTION.get(word), "ConnectRetryCount": 0}


def _free_options(extra: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "TDS_Version": "7.4",
        "ClientCharset": "UTF-8",
        "Encryption": extra.get("encryption", "require" if "encrypt" not in extra else None),
    }


def _login_seconds(connection: SourceConnection) -> int:
    given = str(connection.extra.get("login_timeout", LOGIN_SECONDS))
    if not given.isdigit() or not int(given):
        message = f"connection {connection.conn_id}: login_timeout {given!r} is no number"
        raise SpecError(message, hint="Write seconds in the extra, for example 30.")
    return int(given)


def _first_statements(connection: SourceConnection) -> list[str]:
    """What the extra asks for: pymssql's ``conn_properties``, and an isolation level."""
    given = connection.extra.get("conn_properties") or []
    statements = [given] if isinstance(given, str) else [str(one) for one in given]
    level = str(connection.extra.get("isolation_level", "")).lower()
    if not level:
        return statements
    if level not in _ISOLATION:
        message = f"connection {connection.conn_id}: isolation_level {level!r} is unknown"
        raise SpecError(message, hint=f"Write one of {', '.join(_ISOLATION)}.")
    begin = ("ROLLBACK TRANSACTION", f"SET TRANSACTION ISOLATION LEVEL {level.upper()}")
    return [*begin, "BEGIN TRANSACTION", *statements]


def _truth(value: object) -> bool:
    return str(value).lower() not in ("false", "0", "no", "none")
