"""Allocators: what can be had, the variables that choose one, and the proof that a process uses it."""

import os
import subprocess
import sys

import pytest

from llmbench.errors import InputError, MachineError
from llmbench.machine.allocator import allocator_variables, prove_allocator, why_no_allocator
from llmbench.schema.settings.any_workload import ALLOCATORS

_PROOF = (
    "from llmbench.machine.allocator import prove_allocator; import sys; print(prove_allocator(sys.argv[1]))"
)


def test_the_systems_allocator_takes_no_variables() -> None:
    """Nothing was requested."""
    assert {} == allocator_variables(None)


def test_an_unknown_allocator_is_refused() -> None:
    """By its name, with those that there are."""
    with pytest.raises(InputError, match="allocator 'nedmalloc' is unknown"):
        why_no_allocator("nedmalloc")


@pytest.mark.parametrize("name", ALLOCATORS)
def test_what_can_be_had_is_used_and_what_cannot_is_refused(name: str) -> None:
    """In a process of its own with the variables; one without them that was to use a library is refused."""
    reason = why_no_allocator(name)
    if reason is not None:
        with pytest.raises(MachineError, match=name):
            allocator_variables(name)
        return
    environment = {**os.environ, **allocator_variables(name)}
    done = subprocess.run(
        [sys.executable, "-c", _PROOF, name], env=environment, check=True, capture_output=True, text=True
    )
    assert done.stdout.startswith("huge pages: " if name == "glibc-thp" else f"allocator: {name}")


def test_a_library_that_was_not_loaded_is_found_out() -> None:
    """The loader only warns of what it cannot preload."""
    with pytest.raises(MachineError, match="did not load its library"):
        prove_allocator("mimalloc")


def test_huge_pages_add_to_tunables_that_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are for glibc, with a colon between them."""
    if why_no_allocator("glibc-thp") is not None:
        pytest.skip("huge pages are not given on request here")
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.arena_max=2")

    assert {"GLIBC_TUNABLES": "glibc.malloc.arena_max=2:glibc.malloc.hugetlb=1"} == allocator_variables(
        "glibc-thp"
    )


def test_huge_pages_of_jemalloc_add_to_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a comma between them; ours come last, so that they hold."""
    if why_no_allocator("jemalloc-thp") is not None:
        pytest.skip("jemalloc or huge pages on request cannot be had here")
    monkeypatch.setenv("MALLOC_CONF", "narenas:2,thp:never")

    variables = allocator_variables("jemalloc-thp")

    assert "narenas:2,thp:never,thp:always,metadata_thp:always" == variables["MALLOC_CONF"]
    assert "jemalloc" in variables["LD_PRELOAD"]
