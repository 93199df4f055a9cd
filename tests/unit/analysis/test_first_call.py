"""The first call of a prompt in a launch, apart from the requests that count."""

import dataclasses
from collections.abc import Callable

from llmbench.analysis.first_call import first_call
from llmbench.analysis.report import summarize_run
from llmbench.schema.measurement import Measurement, Memory, Stage
from llmbench.schema.run import Launch, Run

Build = Callable[..., Measurement]


def _request(request_of: Build, first_ms: int, *, iteration: int, peak: int = 0) -> Measurement:
    memory = Memory(
        initial_bytes=1,
        peak_bytes=peak,
        initial_system_bytes=1,
        system_bytes=1,
        stages={"vision_encoder": peak, "decode": peak + 1} if peak else {},
    )
    return dataclasses.replace(
        request_of([first_ms, first_ms + 10, first_ms + 20], is_warmup=iteration == 0),
        iteration=iteration,
        memory=memory,
        stages=(Stage(name="vision_encoder", duration_ns=80_000_000),),
    )


def test_the_first_call_has_what_no_stage_has_and_its_memory(
    request_of: Build, launch_of: Callable[..., Launch], run_of: Callable[..., Run]
) -> None:
    """First tokens of 180 and 190 ms with 80 ms of vision: 105 ms are unexplained in the median of two launches."""
    launches = [
        launch_of(
            [_request(request_of, first, iteration=0, peak=peak), _request(request_of, 100, iteration=1)],
            index=index,
        )
        for index, (first, peak) in enumerate(((180, 500), (190, 700)))
    ]
    loaded = Memory(initial_bytes=1, peak_bytes=400, initial_system_bytes=1, system_bytes=1)
    report = summarize_run(run_of([dataclasses.replace(each, load_memory=loaded) for each in launches]))

    found = first_call(report.evaluation, report.rows[0])

    assert found is not None
    assert (0.185, 400) == (found.first_token_s, found.load_bytes)
    assert 0.105 == round(found.unexplained_s or 0, 9)
    assert {"vision_encoder": 500, "decode": 501} == found.stage_bytes
    assert 0.02 == round(report.rows[0].summaries["stage.unexplained"].median, 9)


def test_text_has_no_first_call(
    request_of: Build, launch_of: Callable[..., Launch], run_of: Callable[..., Run]
) -> None:
    """Without stages there is nothing to say of it."""
    plain = [request_of([10, 20], is_warmup=True), dataclasses.replace(request_of([10, 20]), iteration=1)]
    report = summarize_run(run_of([launch_of(plain)]))

    assert first_call(report.evaluation, report.rows[0]) is None
