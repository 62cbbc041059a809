"""What this machine reaches at all: rates of its arithmetic, of large matrix products and of copies.

The limit is the arithmetic's own rate: how near a matrix product comes to it depends on the processor and the library.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from reslab.bench.peaks import PEAKS, Peak, peak_work
from reslab.bench.records import describe
from reslab.bench.turns import BenchmarkError, CannotRun, Contender, Turns, Work, take_turns
from reslab.environment import available_cores

__all__ = ["PRODUCTS", "RATES", "Rate", "measure_rates", "rate_contender"]

Product = Literal["fp32", "bf16", "int8"]
Rate = Peak | Product | Literal["copy"]
PRODUCTS: tuple[Product, ...] = get_args(Product)
RATES: tuple[Rate, ...] = (*PEAKS, *PRODUCTS, "copy")

_WIDTH = 2048  # of the matrices: 16 MiB in fp32, wide enough for any processor's best rate
_COPIED_BYTES = 256 << 20  # larger than caches
_SHAPE = f"({_WIDTH}, {_WIDTH}) x ({_WIDTH}, {_WIDTH})"


def rate_contender(rate: Rate, threads: int | None = None) -> Contender:
    """A contender whose unit is operations (an addition or a multiplication), or bytes where it copies.

    Args:
        rate: a peak is as in `peak_work`; `fp32` and `bf16` are torch.mm; `int8` is torch's product of signed 8-bit
            matrices into 32 bits (oneDNN's; the same instructions as unsigned by signed); `copy` is Tensor.copy_,
            counting the bytes that are read and those that are written.
        threads: one for each core if None or 0.
    """
    return Contender(rate, partial(_prepare, rate, threads or available_cores()))


def measure_rates(
    rates: Sequence[str], turns: Turns, *, threads: int | None = None, tell: Callable[[str], None] = lambda text: None
) -> dict[str, Any]:
    """Measures by turns.

    Args:
        rates: of `RATES`; all of them if empty.
        turns: how many, and how long.
        threads: one for each core by default.
        tell: is told what is being done.

    Returns:
        A record's row: contenders with `gflops`, or `gb_per_second` of a copy.

    Raises:
        BenchmarkError: an unknown rate, or one that failed.
    """
    for rate in rates:
        if rate not in RATES:
            raise BenchmarkError(f"there is no rate {rate!r}; there are {', '.join(RATES)}.")
    chosen = [rate for rate in RATES if rate in rates or not rates]
    outcomes = take_turns([rate_contender(rate, threads) for rate in chosen], turns, tell=tell)
    units = ["gb_per_second" if outcome.name == "copy" else "gflops" for outcome in outcomes]
    return {"contenders": [describe(outcome, unit, 1e-9) for outcome, unit in zip(outcomes, units, strict=True)]}


def _prepare(rate: Rate, threads: int, folder: Path) -> Work:
    torch.set_num_threads(threads)
    if rate in PEAKS:
        return peak_work(rate, threads)
    generator = torch.Generator().manual_seed(0)
    if rate == "copy":
        source = torch.ones(_COPIED_BYTES, dtype=torch.uint8)
        target = torch.empty_like(source)
        return _work(partial(target.copy_, source), 2 * _COPIED_BYTES, f"Tensor.copy_, {_COPIED_BYTES >> 20} MiB")
    operations = 2 * _WIDTH**3
    if rate == "int8":
        if not hasattr(torch, "_int_mm"):
            raise CannotRun("this torch has no product of 8-bit matrices")
        a, b = torch.randint(-128, 128, (2, _WIDTH, _WIDTH), dtype=torch.int8, generator=generator).unbind()
        return _work(partial(torch._int_mm, a, b), operations, f"torch._int_mm, {_SHAPE}, int8 into int32")
    kind = {"fp32": torch.float32, "bf16": torch.bfloat16}[rate]
    a, b = torch.randn(2, _WIDTH, _WIDTH, generator=generator).to(kind).unbind()
    return _work(partial(torch.mm, a, b), operations, f"torch.mm, {_SHAPE}, {rate}")


def _work(step: partial[torch.Tensor], amount: float, measured: str) -> Work:
    return Work(step, amount, {"threads": torch.get_num_threads(), "measured": measured})
