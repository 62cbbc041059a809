"""ImageNet in 300 epochs: the middle recipe of "ResNet strikes back".

    reslab train 'resnet50[stochastic_depth=0.05]' --data imagenet/ --recipe imagenet-a2

From Table 2 of "ResNet strikes back" (arXiv 2110.00476), as `imagenet-a1`, which says what differs from it, but: the
rate 5e-3, weight decay 0.02, mixup 0.1, CutMix 1.0, RandAugment, no smoothing of labels, every photo three times an
epoch; crops of 224 pixels in training, and in tests of 235, bicubic. The network has `[stochastic_depth=0.05]`.

Expected, published by timm, top-1 error of one central crop at 224, in %:
ResNet-18 29.37, ResNet-34 24.48, ResNet-50 20.17, ResNet-101 18.66, ResNet-152 18.24.
Cost: 384 million images of 224 pixels.
"""

from dataclasses import replace

from reslab.training.recipe import epochs
from reslab.training.recipes.imagenet_a1 import RECIPE as A1

RECIPE = replace(
    A1,
    name="imagenet-a2",
    optimizer=replace(A1.optimizer, weight_decay=0.02),
    schedule=replace(A1.schedule, length=epochs(300)),
    regularization=replace(A1.regularization, label_smoothing=0.0, mixup=0.1),
)
