"""The kernels on lesser processors, where vectors have other widths, and so do the loops that channels fall into."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

FILES = [Path(__file__).with_name(f"test_{name}.py") for name in ("norms", "winograd", "block")]


@pytest.mark.usefixtures("compiler")
@pytest.mark.slow
@pytest.mark.parametrize("capability", ["avx2", "default"])
def test_values_and_gradients_are_torchs_there(capability):
    if not torch.backends.cpu.get_cpu_capability().startswith("AVX"):
        pytest.skip("this processor has nothing less")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            *map(str, FILES),
            "-k",
            "are_torchs or bfloat16",
        ],
        env={**os.environ, "ATEN_CPU_CAPABILITY": capability},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    passed = done.stdout.rsplit(" passed", 1)[0].split()[-1]
    assert int(passed) > 40
