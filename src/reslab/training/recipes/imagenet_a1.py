"""ImageNet in 600 epochs: the best of "ResNet strikes back".

    reslab train 'resnet50[stochastic_depth=0.05]' --data imagenet/ --recipe imagenet-a1

From Table 2 of "ResNet strikes back" (arXiv 2110.00476): LAMB in batches of 2,048, the rate 5e-3 after 5 epochs of
warm-up and then half a cosine, weight decay 0.01 on convolutions and the classifier's matrix only; the loss is binary
cross-entropy, in which both classes of a mixed image count as present; mixup 0.2, CutMix 1.0, RandAugment, labels
smoothed by 0.1, every photo three times an epoch; crops of 224 pixels in training, and in tests of 235, bicubic.

What differs: RandAugment is torchvision's, whose strength counts to 30 where timm's counts to 10: 21 for "rand-m7".
timm's applies each of its two operations to half of the photos only, varies the strength (mstd0.5), and has Invert and
SolarizeAdd where torchvision has Identity. The warm-up starts from 0. Of a mixed image a class counts as present if its
share is above 0.2: the paper says that all classes do, timm's code has such a threshold, and ports of the recipe this
one. Stochastic depth belongs to the network here, and stands in its spelling; training says so where it is missing.

Expected, published by timm, top-1 error of one central crop at 224, in %:
ResNet-18 28.50, ResNet-34 23.58, ResNet-50 19.62, ResNet-101 18.51, ResNet-152 18.00.
Cost: 769 million images of 224 pixels.
"""

from reslab.training.recipe import (
    Area,
    BinaryCrossEntropy,
    Cosine,
    DataRecipe,
    Lamb,
    MonitoringRecipe,
    NoWarmUp,
    Photos,
    Rand,
    Recipe,
    RegularizationRecipe,
    epochs,
)

RECIPE = Recipe(
    name="imagenet-a1",
    needs=("stochastic_depth=0.05",),
    optimizer=Lamb(learning_rate=5e-3, weight_decay=0.01, decay="weights"),
    schedule=Cosine(length=epochs(600), warmup=epochs(5), made_for_images=1_281_167, deep_warmup=NoWarmUp()),
    data=DataRecipe(
        batch_size=2_048,
        normalization="imagenet",
        images=Photos(
            train_size=224,
            test_resize=235,
            interpolation="bicubic",
            crop=Area(),
            auto_augment=Rand(magnitude=21),
            repeats=3,
        ),
    ),
    regularization=RegularizationRecipe(
        label_smoothing=0.1, mixup=0.2, cutmix=1.0, loss=BinaryCrossEntropy(target_threshold=0.2)
    ),
    monitoring=MonitoringRecipe(eval_every=epochs(1)),
)
