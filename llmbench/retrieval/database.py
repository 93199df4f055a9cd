"""A PostgreSQL server with the extension pgvector: connected to, checked, and its failures as errors of one line.

A password never stays in an address: it is taken out and handed on in ``PGPASSWORD``, which libpq and every child
process read. ``.pgpass`` works as with any client of PostgreSQL.
"""

import contextlib
import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from llmbench.errors import InputError, LaunchError, MachineError
from llmbench.files.package_data import check_installed
from llmbench.files.redaction import redact

EMBEDDED = "embedded"
"""The name of the database that llmbench starts itself; ``embedded:NAME`` for one of several."""

SCHEMA = "llmbench"
_PACKAGES = ("psycopg", "pgvector", "semantic-text-splitter", "html2text")
_CONNECT_S = 10


def check_retrieval_packages() -> None:
    """Raise a ``MachineError`` unless the packages of the extra ``rag`` are installed; imports none."""
    check_installed(_PACKAGES, user="retrieval", extra="rag")


def is_embedded(database: str) -> bool:
    """Whether the database is one that llmbench starts itself."""
    return database.partition(":")[0] == EMBEDDED


def take_password(database: str) -> str:
    """Return an address without its password, which goes into ``PGPASSWORD``.

    Raises:
        InputError: it is no address of PostgreSQL.
    """
    if is_embedded(database):
        return database
    parts = urlsplit(database)
    if parts.scheme not in {"postgresql", "postgres"}:
        raise InputError(
            f"--database {redact(database)} is not an address of PostgreSQL",
            hint="write postgresql://USER@HOST:PORT/DATABASE, or embedded",
        )
    query = parse_qsl(parts.query)
    given = [value for name, value in query if name == "password"] or [unquote(parts.password or "")]
    if given[0]:
        os.environ["PGPASSWORD"] = given[0]
    user, _, host = parts.netloc.rpartition("@")
    netloc = f"{user.partition(':')[0]}@{host}" if user else host
    kept = urlencode([pair for pair in query if pair[0] != "password"], safe="/")
    return parts._replace(netloc=netloc, query=kept).geturl()


@contextlib.contextmanager
def failures(address: str, doing: str) -> Iterator[None]:
    """Turn what the client raises into an error of one line, without any secret.

    Raises:
        MachineError: the server cannot be reached, or refuses.
        LaunchError: it was lost in between.
    """
    import psycopg

    try:
        yield
    except psycopg.errors.ReadOnlySqlTransaction as error:
        raise MachineError(
            f"the database {address} is read-only, and {doing} has to write",
            hint="index on the primary server, or with a user that may write",
        ) from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise MachineError(
            f"the user of {address} may not do this while {doing}: {_first_line(error)}",
            hint="give the user the right to create a schema and tables",
        ) from error
    except psycopg.OperationalError as error:
        raise LaunchError(
            f"the database {address} was lost while {doing}: {_first_line(error)}",
            hint="start it again (an embedded one starts by itself); what was measured is kept",
        ) from error
    except psycopg.Error as error:
        raise MachineError(f"the database {address} failed while {doing}: {_first_line(error)}") from error


def connect(address: str) -> Any:
    """Return a connection that commits each statement and has the type of vectors.

    Raises:
        MachineError: the server cannot be reached, or lacks the extension.
    """
    import psycopg
    from pgvector.psycopg import register_vector

    try:
        connection = psycopg.connect(
            address, autocommit=True, connect_timeout=_CONNECT_S, application_name="llmbench"
        )
    except psycopg.Error as error:
        raise MachineError(
            f"the database {address} cannot be reached: {_first_line(error)}",
            hint="start it, or correct --database; a password belongs into PGPASSWORD or ~/.pgpass",
        ) from error
    with failures(address, "looking for pgvector"):
        found = connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'vector'").fetchone()
        if found is None:
            _create_extension(connection, address)
        register_vector(connection)
    return connection


def _create_extension(connection: Any, address: str) -> None:
    import psycopg

    try:
        connection.execute("CREATE EXTENSION vector")
    except psycopg.Error as error:
        connection.close()
        raise MachineError(
            f"the database {address} has no extension vector (pgvector): {_first_line(error)}",
            hint="install pgvector on the server, and CREATE EXTENSION vector as a superuser",
        ) from error


def server_versions(connection: Any) -> str:
    """Return what the server is: ``PostgreSQL 16.2, pgvector 0.6.2``."""
    (server,) = connection.execute("SHOW server_version").fetchone()
    (vector,) = connection.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'").fetchone()
    return f"PostgreSQL {server.partition(' ')[0]}, pgvector {vector}"


def _first_line(error: Exception) -> str:
    text = redact(str(error)).strip()
    return " ".join(text.split("\n")[:2]).removeprefix("connection failed: ") or type(error).__name__
