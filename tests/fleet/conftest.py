import functools
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmbench.files.cache import cache_folder
from llmbench.models import demo
from tests import command, conversions
from tests.command import RunCommand
from tests.fleet import clusters
from tests.fleet.clusters import Ray, Slurm


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """A real Slurm of two hosts on this machine."""
    cache = cache_folder() / "tests" / "slurm"
    try:
        clusters.slurm_packages(cache)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"Slurm's Debian packages cannot be fetched: {error}")
    with clusters.slurm(cache, tmp_path_factory.mktemp("slurm")) as made:
        yield made


@pytest.fixture(scope="session")
def ray() -> Iterator[Ray]:
    """A real Ray of two nodes on this machine."""
    with clusters.ray_cluster() as made:
        yield made


@pytest.fixture
def ray_address(ray: Ray) -> str:
    """The address of that Ray."""
    return ray.address


@pytest.fixture
def on_slurm(slurm: Slurm, tmp_path: Path) -> RunCommand:
    """Runs the command in a process of its own that finds the Slurm."""
    return functools.partial(command.as_process, tmp_path, **slurm.variables)


@pytest.fixture(scope="session")
def demo_ir() -> Path:
    """The IR folder of the demo's model."""
    (made,) = conversions.converted(demo.demo_model()).values()
    return made.folder
