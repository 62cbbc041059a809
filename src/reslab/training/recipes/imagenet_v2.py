"""torchvision's recipe of 2021 (its weights V2): 600 epochs with everything that helped.

    reslab train resnet50 --data imagenet/ --recipe imagenet-v2

From "How to train state-of-the-art models using TorchVision's latest primitives" (PyTorch's blog, November 2021) and
references/classification: batches of 1,024, the rate 0.5 after 5 epochs of warm-up and then half a cosine, weight decay
2e-5 on convolutions and the classifier's matrix only, labels smoothed by 0.1, mixup 0.2, CutMix 1.0, TrivialAugment,
a tenth of the photos with a rectangle erased, every photo four times an epoch, crops of 176 pixels in training and 224
of 232 in tests, and an average of the weights. That one is updated every 32 iterations there, by 0.00109 of the way
(0.00002, times 8 GPUs, 128 images and 32 iterations, over 600 epochs), which is 0.0000342 of the way every iteration.

What differs: the warm-up starts from 0 and not from a hundredth of the rate; the classifier's bias does not decay; the
average is not begun anew while the rate warms up.

Expected, published, top-1 error of one central crop: ResNet-50 19.14, ResNet-101 18.11, ResNet-152 17.72. Cost: 769
million images of 176 pixels, and as many decoded.
"""

from reslab.training.recipe import (
    Area,
    Cosine,
    DataRecipe,
    MonitoringRecipe,
    NoWarmUp,
    Photos,
    Recipe,
    RegularizationRecipe,
    Sgd,
    Trivial,
    epochs,
)

RECIPE = Recipe(
    name="imagenet-v2",
    optimizer=Sgd(learning_rate=0.5, weight_decay=2e-5, decay="weights"),
    schedule=Cosine(length=epochs(600), warmup=epochs(5), made_for_images=1_281_167, deep_warmup=NoWarmUp()),
    data=DataRecipe(
        batch_size=1_024,
        normalization="imagenet",
        erase=0.1,
        images=Photos(train_size=176, test_resize=232, crop=Area(), auto_augment=Trivial(), repeats=4),
    ),
    regularization=RegularizationRecipe(label_smoothing=0.1, mixup=0.2, cutmix=1.0, ema_decay=0.9999658),
    monitoring=MonitoringRecipe(eval_every=epochs(1)),
)
