import pytest

from llmbench.engines.transformers.generate import check_packages
from llmbench.errors import ExitCode, MachineError


def test_missing_packages_are_all_named_with_the_remedy() -> None:
    """A base installation has none of them; one command brings them."""
    check_packages("optimum", "click", "rich")

    with pytest.raises(MachineError, match="not installed: no-such-one, no-such-other") as caught:
        check_packages("optimum", "click", "no-such-one", "no-such-other")
    assert ExitCode.MACHINE == caught.value.exit_code
    assert "pip install 'llmbench[convert]'" == caught.value.hint
