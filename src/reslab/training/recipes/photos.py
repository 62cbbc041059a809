"""A folder of photos from scratch, at 128 pixels: a sensible beginning.

    reslab train resnet18 --data photos/

It is what a folder of photos is trained with where no recipe is named. What it is made of, and why:

- 90 epochs, as ImageNet's usual recipe has, and half a cosine after 5 epochs of warm-up: a length that is known needs
  no milestones. With few photos an epoch is a handful of iterations, in which no network learns anything; so there are
  2,000 iterations at least, which are 90 epochs of 1,422 photos: 20 minutes of ResNet-18 on two cores that have
  instructions for bf16.
- Crops of 128 pixels, and in tests of 128 of 146, in the same proportion as 224 of 256. A step takes a third of the
  time at 224, and what tells a few classes apart is seldom smaller. `--data.images.train-size 224
  --data.images.test-size 224 --data.images.test-resize 256` where it is.
- A quarter to all of the area instead of 8 to 100 %, mirror images and TrivialAugment: with few photos more variety
  helps, and crops of a twelfth of a photo often miss what it shows. Text and other things that mirror images spoil want
  `--data.no-flip`.
- SGD with Nesterov's momentum, 0.05 for batches of 64: half of the paper's rate for half of its CIFAR batch, which a
  small machine holds. Weight decay 5e-4, as is usual for small data sets, and labels smoothed by 0.1.
- Everyone's mean and std, so that nothing has to be measured first; bf16 where the processor has instructions for it.

None of it was tuned, and no result is claimed: it is put together from what the other recipes here have. For a few
thousand photos pretrained weights (`--weights torchvision:V2` for resnet50) are nearly always better than any training
from scratch.
"""

from reslab.training.recipe import (
    Area,
    Cosine,
    DataRecipe,
    HardwareRecipe,
    MonitoringRecipe,
    NoWarmUp,
    Photos,
    Recipe,
    RegularizationRecipe,
    Sgd,
    Trivial,
    epochs,
    iterations,
)

RECIPE = Recipe(
    name="photos",
    optimizer=Sgd(learning_rate=0.05, nesterov=True, weight_decay=5e-4),
    schedule=Cosine(length=epochs(90), least_iterations=2_000, warmup=epochs(5), deep_warmup=NoWarmUp()),
    data=DataRecipe(
        batch_size=64,
        normalization="imagenet",
        images=Photos(
            train_size=128, test_size=128, test_resize=146, crop=Area(area=(0.25, 1.0)), auto_augment=Trivial()
        ),
    ),
    regularization=RegularizationRecipe(label_smoothing=0.1),
    hardware=HardwareRecipe(precision="auto"),
    monitoring=MonitoringRecipe(log_every=iterations(50), eval_every=epochs(5), checkpoint_every=iterations(200)),
)
