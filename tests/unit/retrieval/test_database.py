"""Addresses without passwords, and databases that cannot be used: one line, exit 4."""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmbench.errors import ExitCode, InputError, MachineError
from llmbench.retrieval import database
from llmbench.retrieval import server as pg
from llmbench.retrieval.collection import Collection, CollectionKey
from llmbench.retrieval.documents import Splitting
from tests import postgres

SECRET = "s3cr3t/wo:rd"  # noqa: S105  it is none
KEY = CollectionKey(name="c", splitting=Splitting(), embedder="e")


@pytest.mark.parametrize(
    ("given", "kept", "password"),
    [
        (
            "postgresql://u:s3cr3t%2Fwo%3Ard@h:5/d?sslmode=require",
            "postgresql://u@h:5/d?sslmode=require",
            SECRET,
        ),
        ("postgres://u@h/d?password=s3cr3t%2Fwo%3Ard", "postgres://u@h/d", SECRET),
        ("postgresql://u@/d?host=/run/pg", "postgresql://u@/d?host=/run/pg", None),
        ("embedded:mine", "embedded:mine", None),
    ],
)
def test_a_password_leaves_the_address(
    given: str, kept: str, password: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on in PGPASSWORD, which the client and every child process read, and which is redacted everywhere."""
    monkeypatch.delenv("PGPASSWORD", raising=False)

    assert kept == database.take_password(given)
    assert password == os.environ.get("PGPASSWORD")


def test_what_is_no_address_is_refused_without_its_secret() -> None:
    """One line, exit 2."""
    with pytest.raises(InputError) as caught:
        database.take_password(f"mysql://u:{SECRET.replace('/', '')}@h/d")

    assert "wo:rd" not in caught.value.message


def test_a_name_that_leaves_the_folder_is_refused() -> None:
    """It would be a path."""
    with pytest.raises(InputError, match="is not a name"):
        pg.data_folder("embedded:../x")


@pytest.mark.rag
def test_a_database_that_is_down_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 4, with what to do, and without the password."""
    monkeypatch.setenv("PGPASSWORD", SECRET)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"postgresql://u@127.0.0.1:{free.getsockname()[1]}/d"

    with pytest.raises(MachineError, match="cannot be reached") as caught:
        database.connect(address)

    assert caught.value.exit_code == ExitCode.MACHINE
    assert "\n" not in caught.value.message
    assert SECRET not in f"{caught.value.message}{caught.value.hint}"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a running server."""
    with postgres.database() as name:
        yield pg.address_of(name)


def _address(server: str, name: str, user: str = "postgres") -> str:
    return server.replace("postgres@/postgres", f"{user}@/{name}")


@pytest.mark.rag
@pytest.mark.slow
def test_databases_that_cannot_be_used_are_refused(server: str) -> None:
    """Without the extension, read-only, of another dimension: a line each, exit 4; nothing is lost."""
    with contextlib.closing(database.connect(server)) as admin:
        for statement in (
            "CREATE DATABASE bare",
            "CREATE DATABASE frozen",
            "CREATE ROLE guest LOGIN",
            "ALTER DATABASE frozen SET default_transaction_read_only = on",
        ):
            admin.execute(statement)

        with pytest.raises(MachineError, match=r"has no extension vector \(pgvector\)"):
            database.connect(_address(server, "bare", "guest"))

        frozen = _address(server, "frozen")
        with pytest.raises(MachineError, match="has no extension vector"):
            database.connect(frozen)

        made = Collection.create(admin, server, KEY, dimension=3)
        made.complete()
        with pytest.raises(MachineError, match="vectors of 3 dimensions; the embedder makes 4"):
            Collection.create(admin, server, KEY, dimension=4)
        with pytest.raises(MachineError, match="vectors of 3 dimensions; the embedder makes 4"):
            Collection.find(admin, server, KEY, dimension=4)
        admin.execute("SET default_transaction_read_only = on")
        with pytest.raises(MachineError, match="is read-only, and preparing the collection has to write"):
            Collection.create(admin, server, KEY, dimension=3)
        assert made.count() == 0


def test_an_embedded_database_that_is_not_up_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when it was killed between two launches."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    with pytest.raises(MachineError, match="is not up"):
        pg.address_of("embedded:none")
