import pytest

from llmbench.machine import environment
from llmbench.machine.checks import Checkup, Finding, Weight
from llmbench.machine.interference import Interference
from llmbench.render.terminal.doctor import doctor_lines

FOUND = (
    Finding(check="a", weight=Weight.SPOILS, found="a fault", effect="it spoils " * 9, remedy="mend it"),
    Finding(check="b", weight=Weight.NOTE, found="a fact", effect="it matters little"),
)


@pytest.mark.parametrize("columns", [40, 80])
def test_findings_stand_apart_and_fit_the_terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    """The word before a finding has a space behind it, at any width, and no line is cut by the terminal."""
    monkeypatch.setenv("COLUMNS", str(columns))
    checkup = Checkup(
        environment=environment.capture(),
        nodes=(),
        caches=(),
        settings={},
        load=Interference(total=0.0, steal=0.0),
        instructions=(),
        frequency_mhz=(),
        devices={},
        split=None,
        bandwidth={},
        findings=FOUND,
    )
    *_, findings = "\n".join(doctor_lines(checkup)).partition("\n\nPROBLEM ")

    assert findings.startswith("a fault: it spoils")
    assert "\nnote    a fact: it matters little.\n" in findings
    assert columns >= max(map(len, findings.splitlines()[1:-1]))
