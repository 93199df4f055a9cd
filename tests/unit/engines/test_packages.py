import dataclasses

import pytest

from llmbench.engines.catalog import check_packages
from llmbench.errors import ExitCode, MachineError
from llmbench.files.package_data import install_command
from llmbench.schema.config import Prompt, RunConfig

CONFIG = RunConfig(model="m", prompts=(Prompt(set="s", index=0, text="x"),))


def test_missing_packages_are_all_named_with_the_remedy() -> None:
    """A base installation has none of them; one command brings them."""
    check_packages(CONFIG, "click", "rich")

    with pytest.raises(MachineError, match="not installed: no-such-one, no-such-other") as caught:
        check_packages(CONFIG, "click", "no-such-one", "no-such-other")
    assert ExitCode.MACHINE == caught.value.exit_code
    assert install_command() == caught.value.hint


def test_an_engine_of_an_extra_of_its_own_names_that_one() -> None:
    """What llama.cpp needs does not come with PyTorch."""
    config = dataclasses.replace(CONFIG, engine="llama.cpp", attention="sdpa")

    with pytest.raises(MachineError) as caught:
        check_packages(config, "no-such-one")
    assert install_command("llamacpp") == caught.value.hint
    assert "llamacpp" in str(caught.value.hint)
