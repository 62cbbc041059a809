"""ImageNet in 100 epochs at 160 pixels: the cheap recipe of "ResNet strikes back".

    reslab train resnet50 --data imagenet/ --recipe imagenet-a3

From Table 2 of "ResNet strikes back" (arXiv 2110.00476): LAMB in batches of 2,048, the rate 8e-3 after 5 epochs of
warm-up and then half a cosine, weight decay 0.02 on convolutions and the classifier's matrix only; the loss is binary
cross-entropy, mixup 0.1, CutMix 1.0, RandAugment; crops of 160 pixels in training and of 224 of
235 in tests, bicubic.

What differs: RandAugment is torchvision's, with the magnitude 6 of timm's "rand-m6-mstd0.5-inc1" but neither its
noise nor its sign; the warm-up starts from 0; the mean over all classes and images is the loss, as in timm's code.

Expected, published by timm, top-1 error of one central crop at 224, in %:
ResNet-18 31.75, ResNet-34 27.00, ResNet-50 21.95, ResNet-101 20.16, ResNet-152 19.45.
Cost: 128 million images of 160 pixels.
"""

from dataclasses import replace

from reslab.training.recipes.imagenet_a1 import EPOCH
from reslab.training.recipes.imagenet_a1 import RECIPE as A1

RECIPE = replace(
    A1,
    name="imagenet-a3",
    optimizer=replace(A1.optimizer, learning_rate=8e-3, weight_decay=0.02),
    schedule=replace(A1.schedule, iterations=round(100 * EPOCH)),
    data=replace(A1.data, train_size=160, rand_magnitude=6, repeats=1),
    regularization=replace(A1.regularization, label_smoothing=0.0, mixup=0.1),
)
