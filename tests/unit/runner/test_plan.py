import dataclasses

from llmbench.runner import plan
from llmbench.schema.config import Prompt, RunConfig

_CELL = RunConfig(
    model="m",
    prompts=tuple(Prompt(set="s", index=i, text=f"p{i}") for i in range(2)),
    iterations=2,
    launches=2,
)


def test_every_cell_gets_its_launches_in_rounds() -> None:
    """A slow drift does not fall on one cell: each round has a launch of every cell that is still due."""
    cells = (_CELL, dataclasses.replace(_CELL, launches=3))

    assert [0, 1, 0, 1, 1] == [launch.cell for launch in plan.plan_launches(cells)]
    assert [0, 1, 2, 3, 4] == [launch.index for launch in plan.plan_launches(cells)]


def test_a_seed_shuffles_inside_a_round_only() -> None:
    """The order is random inside a round, the same for the same seed, and no cell is lost."""
    cells = (_CELL,) * 4
    orders = {tuple(launch.cell for launch in plan.plan_launches(cells, seed=seed)) for seed in range(20)}

    assert len(orders) > 5
    for order in orders:
        assert {0, 1, 2, 3} == set(order[:4])
        assert {0, 1, 2, 3} == set(order[4:])
    assert plan.plan_launches(cells, seed=7) == plan.plan_launches(cells, seed=7)


def test_an_iteration_is_one_pass_over_the_prompts() -> None:
    """Warm-ups come first and are flagged; the iteration goes on counting."""
    made = [(r.iteration, r.prompt, r.is_warmup) for r in plan.plan_requests(_CELL)]

    assert [(0, 0, True), (0, 1, True), (1, 0, False), (1, 1, False), (2, 0, False), (2, 1, False)] == made


def test_subsequent_prompts_have_their_iterations_one_prompt_after_the_other() -> None:
    """Each has its own warm-ups first; the numbers of iterations are those of the usual order."""
    subsequent = dataclasses.replace(_CELL, is_subsequent=True)
    made = [(r.iteration, r.prompt, r.is_warmup) for r in plan.plan_requests(subsequent)]

    assert [(0, 0, True), (1, 0, False), (2, 0, False), (0, 1, True), (1, 1, False), (2, 1, False)] == made
    assert set(plan.plan_requests(_CELL)) == set(plan.plan_requests(subsequent))


def test_the_turns_of_a_chat_stay_together() -> None:
    """A turn is made of what the turn before it said in the same iteration."""
    chat = tuple(
        Prompt(set="s", index=0, text=text, earlier=earlier) for text, earlier in (("a", ()), ("b", ("a",)))
    )
    cell = dataclasses.replace(_CELL, prompts=(*chat, _CELL.prompts[1]), warmups=0, is_subsequent=True)

    assert [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (1, 2)] == [
        (r.iteration, r.prompt) for r in plan.plan_requests(cell)
    ]


def test_what_is_finished_is_not_made_again() -> None:
    """Resuming makes what each cell still lacks, in the block where it is missing, under new numbers."""
    cells = (_CELL, dataclasses.replace(_CELL, launches=3))

    left = plan.remaining(cells, {(0, 0), (1, 0), (1, 1)}, next_index=4)

    assert [(4, 0, 1), (5, 2, 1)] == [(launch.index, launch.block, launch.cell) for launch in left]
    everything = {(launch.block, launch.cell) for launch in plan.plan_launches(cells)}
    assert plan.remaining(cells, everything, next_index=5) == ()
