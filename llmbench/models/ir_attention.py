"""Attention in an IR's network: how many layers have it as one operation, and how many as plain multiplications.

Plain attention is a matrix multiplication of two computed values (queries and keys), a softmax of what it gives, and a
multiplication of that with a third (values). A softmax over the weights of a router, or over the vocabulary, follows a
multiplication with a constant and is none.
"""

import graphlib
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Protocol

SDPA = "ScaledDotProductAttention"
_PRODUCTS = frozenset(("MatMul", "Einsum"))
_SOFTMAX = frozenset(("SoftMax", "Softmax"))
_AFTER = frozenset(
    ("Convert", "Reshape", "Slice", "StridedSlice", "Squeeze", "Unsqueeze", "Transpose", "Multiply")
)
"""Operations between a softmax and the multiplication with the values."""

_BEFORE = _AFTER | {"Add", "Subtract", "Divide", "Select", "Tanh", "Concat", "Broadcast", "Clamp"}
"""Operations between the scores and their softmax: scale, mask, bias, cap, sinks."""


class NetworkOperation(Protocol):
    """An operation of a network: its type, and the names of those that its inputs come from, by port."""

    kind: str
    sources: dict[str, str]


def topological_order(operations: Mapping[str, NetworkOperation]) -> Iterable[str]:
    """Return the names of operations, each after those that its inputs come from; raises ValueError on a cycle."""
    return graphlib.TopologicalSorter(
        {name: each.sources.values() for name, each in operations.items()}
    ).static_order()


def constant_operations(operations: Mapping[str, NetworkOperation]) -> set[str]:
    """Return the names of operations whose values depend on no input and no state."""
    constant: set[str] = set()
    for name in topological_order(operations):
        each = operations[name]
        if each.kind == "Const" or (each.sources and constant.issuperset(each.sources.values())):
            constant.add(name)
    return constant


def count_fused(operations: Mapping[str, NetworkOperation]) -> int:
    """Return how many attention layers are one operation."""
    return sum(each.kind == SDPA for each in operations.values())


def count_plain(operations: Mapping[str, NetworkOperation]) -> int:
    """Return how many attention layers are several operations."""
    constant = constant_operations(operations)
    products = [each for each in operations.values() if each.kind in _PRODUCTS]
    found = {
        softmax
        for product in products
        for softmax in _reach(operations, product.sources.values(), through=_AFTER, to=_SOFTMAX)
    }
    return sum(_is_attention(operations, softmax, constant) for softmax in found)


def _is_attention(
    operations: Mapping[str, NetworkOperation], softmax: str, constant: AbstractSet[str]
) -> bool:
    """Return whether a softmax is of a product of two computed values."""
    starts = operations[softmax].sources.values()
    scores = _reach(operations, starts, through=_BEFORE, to=_PRODUCTS)
    return any(constant.isdisjoint(operations[product].sources.values()) for product in scores)


def _reach(
    operations: Mapping[str, NetworkOperation],
    starts: Iterable[str],
    *,
    through: AbstractSet[str],
    to: AbstractSet[str],
) -> Iterator[str]:
    """Yield the operations of some kinds from which data flows to *starts*, through operations of others only."""
    todo, seen = list(starts), set[str]()
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        found = operations[name]
        if found.kind in to:
            yield name
        elif found.kind in through:
            todo.extend(found.sources.values())
