"""ImageNet in 100 epochs at 160 pixels: the cheap recipe of "ResNet strikes back".

    reslab train resnet50 --data imagenet/ --recipe imagenet-a3

From Table 2 of "ResNet strikes back" (arXiv 2110.00476), as `imagenet-a1`, which says what differs from it, but: the
rate 8e-3, weight decay 0.02, mixup 0.1, CutMix 1.0, RandAugment of magnitude 18 of 30, no smoothing, every photo once
an epoch; crops of 160 pixels in training, and in tests 224 of 235, bicubic.

Expected, published by timm, top-1 error of one central crop at 224, in %:
ResNet-18 31.75, ResNet-34 27.00, ResNet-50 21.95, ResNet-101 20.16, ResNet-152 19.45.
Cost: 128 million images of 160 pixels.
"""

from dataclasses import replace

from reslab.training.recipe import Photos, Rand, epochs
from reslab.training.recipes.imagenet_a1 import RECIPE as A1

IMAGES = A1.data.images
assert isinstance(IMAGES, Photos)
RECIPE = replace(
    A1,
    name="imagenet-a3",
    needs=(),
    optimizer=replace(A1.optimizer, learning_rate=8e-3, weight_decay=0.02),
    schedule=replace(A1.schedule, length=epochs(100)),
    data=replace(A1.data, images=replace(IMAGES, train_size=160, auto_augment=Rand(magnitude=18), repeats=1)),
    regularization=replace(A1.regularization, label_smoothing=0.0, mixup=0.1),
)
