"""How much of a graph a delegate took over, from lists of nodes as the interpreter gives them."""

from __future__ import annotations

import pytest

from windtunnel.farm_dispatcher.adapters.benchmark.delegation import Delegation, Node, count_delegated

# in 0 -> a -> 1 -> b -> 2 -> c -> 3 -> d -> 4; constants 10 to 13.
CHAIN = [Node((index, 10 + index), (index + 1,)) for index in range(4)]


def taken(inputs: tuple[int, ...], outputs: tuple[int, ...]) -> Node:
    return Node(inputs, outputs, delegate=True)


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        (CHAIN, Delegation(0, 4, 0, 1)),
        ([*CHAIN, taken((0, 10, 11, 12, 13), (4,))], Delegation(4, 4, 1, 1)),
        ([*CHAIN, taken((0, 10, 11), (2,))], Delegation(2, 4, 1, 2)),
        ([*CHAIN, taken((1, 11), (2,))], Delegation(1, 4, 1, 3)),
        ([*CHAIN, taken((0, 10), (1,)), taken((2, 12), (3,))], Delegation(2, 4, 2, 4)),
    ],
)
def test_nodes_between_a_delegates_inputs_and_outputs_are_its(nodes: list[Node], expected: Delegation) -> None:
    assert count_delegated(nodes) == expected


def test_a_branch_is_counted_once() -> None:
    # 0 -> a -> 1, then b and c both read 1, and d joins them.
    own = [Node((0,), (1,)), Node((1,), (2,)), Node((1,), (3,)), Node((2, 3), (4,))]
    assert count_delegated([*own, taken((1,), (4,))]) == Delegation(3, 4, 1, 2)


def test_nodes_that_are_ready_together_make_one_part() -> None:
    # Two independent heads; the delegate takes one of each.
    own = [Node((0,), (1,)), Node((1,), (2,)), Node((0,), (3,)), Node((3,), (4,))]
    assert count_delegated([*own, taken((0,), (1,)), taken((0,), (3,))]).partitions == 2
