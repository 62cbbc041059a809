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

from reslab.training.recipe import (
    DataRecipe,
    MonitoringRecipe,
    OptimizerRecipe,
    Recipe,
    RegularizationRecipe,
    ScheduleRecipe,
)

EPOCH = 1_281_167 / 2_048

RECIPE = Recipe(
    name="imagenet-a3",
    optimizer=OptimizerRecipe(kind="lamb", learning_rate=8e-3, weight_decay=0.02, decay="weights"),
    schedule=ScheduleRecipe(
        iterations=round(100 * EPOCH),
        decay="cosine",
        milestones=(),
        warmup_iterations=round(5 * EPOCH),
        warmup_from_depth=0,
    ),
    data=DataRecipe(
        batch_size=2_048,
        images="photos",
        crop="area",
        normalization="imagenet",
        interpolation="bicubic",
        train_size=160,
        test_resize=235,
        auto_augment="rand",
        rand_magnitude=6,
    ),
    regularization=RegularizationRecipe(mixup=0.1, cutmix=1.0, loss="binary-cross-entropy"),
    monitoring=MonitoringRecipe(eval_every=round(EPOCH)),
)
