"""What a network is: its description, the named ones, and the modules that it is built of."""

from typing import TYPE_CHECKING, Any

from reslab.models.spec import NetSpec
from reslab.models.zoo import cifar_resnet, list_models, parse_model, spell

if TYPE_CHECKING:
    from reslab.models.resnet import ResNet

__all__ = ["NetSpec", "cifar_resnet", "create_model", "list_models", "parse_model", "spell"]


def create_model(model: str | NetSpec, **overrides: Any) -> "ResNet":
    """Builds a network with fresh weights, drawn from torch's global generator.

    Args:
        model: a name (`resnet56`), a spelling (`resnet56[shortcut=C]`) or a description.
        **overrides: fields of `NetSpec` to change, e.g. `num_classes=100`.

    Raises:
        ModelError: an unknown name or field, or a bad value.
    """
    from reslab.models.resnet import ResNet
    from reslab.models.zoo import apply_overrides

    return ResNet(apply_overrides(model, overrides) if isinstance(model, NetSpec) else parse_model(model, overrides))
