"""What tests of the kernels share."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor


@pytest.fixture(params=[1, 2, 3], ids="threads{}".format)
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """As many threads, also more than there are cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.fixture
def activations() -> Callable[..., Tensor]:
    """Makes random ones, in channels-last layout."""

    def make(*shape: int, dtype: torch.dtype = torch.float32, offset: float = 0.0) -> Tensor:
        return (torch.randn(shape) * 2 + offset).to(dtype).contiguous(memory_format=torch.channels_last)

    return make
