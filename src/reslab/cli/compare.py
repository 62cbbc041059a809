"""`reslab compare`."""

from dataclasses import dataclass

from reslab.cli.command import Command, argument
from reslab.cli.output import JSON_HELP, print_json
from reslab.fields import knob

_DESCRIPTION = """\
  reslab compare mine.py:ResNet20
  reslab compare mine.py:resnet --to 'resnet20[shortcut=B]'

For your own implementation: the file is run, the class or function called without arguments, and the first layer in
which it differs from ours is said in a sentence: kernel, stride, padding, norm, bias, shortcut, ReLU, their order, or
initial weights. The exit status is 0 where nothing differs, and 3 where something does."""
_DIFFERS = 3


@dataclass(frozen=True, kw_only=True)
class Arguments:
    network: str = argument(help="A Python file, a colon, and a class or function in it.", metavar="FILE.py:CLASS")
    to: str | None = knob(
        None, "Name or spelling of ours; by default the registered network with the nearest number of parameters."
    )
    input_size: int | None = knob(
        None, "Side of the images; by default what our network was made for.", least=1, most=1 << 14
    )
    json: bool = knob(False, JSON_HELP)


def run(asked: Arguments) -> int:
    """Says where a network differs from ours."""
    from reslab.analysis.comparison import compare_networks
    from reslab.analysis.user_code import network_in

    size = (asked.input_size, asked.input_size) if asked.input_size else None
    found = compare_networks(network_in(asked.network), asked.to, size)
    if asked.json:
        print_json(found._asdict())
    else:
        print(f"Compared with {found.reference}: {found.sentence or 'the same, layer by layer.'}")
    return _DIFFERS if found.sentence else 0


COMMANDS = {
    "": Command(
        Arguments,
        "where your own network differs from the paper's",
        _DESCRIPTION,
        run,
    )
}
