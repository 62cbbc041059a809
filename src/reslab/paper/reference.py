"""Numbers of the paper, each with the place it stands at. Errors in %. Importing this module imports no torch."""

from dataclasses import dataclass

__all__ = ["CIFAR_ITERATIONS", "CIFAR_TEST_ERRORS", "Quoted"]

CIFAR_ITERATIONS = 64_000


@dataclass(frozen=True)
class Quoted:
    """A number that others measured.

    Args:
        value: in %.
        source: where it stands.
        read_off: whether it was read off a figure, and so is approximate.
    """

    value: float
    source: str
    read_off: bool = False

    def __str__(self) -> str:
        return f"about {self.value:g}" if self.read_off else f"{self.value:.2f}"


CIFAR_TEST_ERRORS = {
    "plain20": Quoted(9, "Fig. 6 left", read_off=True),
    "plain32": Quoted(10, "Fig. 6 left", read_off=True),
    "plain44": Quoted(12, "Fig. 6 left", read_off=True),
    "plain56": Quoted(13, "Fig. 6 left", read_off=True),
    "resnet20": Quoted(8.75, "Table 6"),
    "resnet32": Quoted(7.51, "Table 6"),
    "resnet44": Quoted(7.17, "Table 6"),
    "resnet56": Quoted(6.97, "Table 6"),
    "resnet110": Quoted(6.43, "Table 6"),
    "resnet1202": Quoted(7.93, "Table 6"),
}
