"""The paper's recipe on a small scale: minutes on two cores, for scikit-learn's digits.

    reslab train resnet20 --data digits --recipe digits-quick

As `cifar-paper`, but for what the data ask for. Batches of 32, and for them a quarter of the rate that the paper has
for 128. Shifts of up to 2 of 16 pixels, as the paper's 4 of 32, and no mirror images, which would not be digits. 720
iterations, 18 epochs of 1,257 images, with the rate divided by 10 at 70 % and 90 %: on so short a schedule the paper's
50 % and 75 % stop ResNet-56 before it has converged at the full rate.

What it gives, over seeds, stands in results/ beside the figure.
"""

from reslab.training.recipe import (
    DataRecipe,
    MonitoringRecipe,
    Recipe,
    Sgd,
    SmallImages,
    Steps,
    UntilError,
    iterations,
)

RECIPE = Recipe(
    name="digits-quick",
    optimizer=Sgd(learning_rate=0.025),
    schedule=Steps(
        length=iterations(720),
        milestones=(iterations(504), iterations(648)),
        made_for_images=1_257,
        deep_warmup=UntilError(rate=0.0025),
    ),
    data=DataRecipe(batch_size=32, flip=False, images=SmallImages(pad=2)),
    monitoring=MonitoringRecipe(log_every=iterations(10), eval_every=iterations(40), checkpoint_every=iterations(80)),
)
