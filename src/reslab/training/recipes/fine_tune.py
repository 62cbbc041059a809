"""A folder of photos, beginning with weights of another training.

    reslab train resnet18 --data photos/ --recipe fine-tune --weights torchvision:V1

Weights: released ones, a file, or the folder of a run. What it is made of, and why:

- Photos are seen as the weights were trained to see them: their normalisation, and their size unless `--train-size`
  says otherwise. A step at 128 pixels takes a third of the time at 224.
- 10 epochs in batches of 32, and 300 iterations at least, which are 10 epochs of 960 photos: most of what can be had
  comes early. Every half epoch is validated, the state that is best on val becomes the weights, and ten validations
  without a better one end the training.
- A fifth of the photos is held out where the folder has no val/ of its own, photos of the same thing on one side.
- First the new classifier alone, for one epoch, on features that stay as they are: its first gradients are large and
  mean nothing to the layers below. Then all layers, each block at 0.8 of the next one's rate, as the first ones know
  edges and colours, which photos have in common.
- AdamW, 0.001, weight decay 0.05 on weights alone; half a cosine after a short warm-up. Few photos need little tuning
  of it. `--find-rate` measures what rate the loss falls fastest at.
- Crops of 35 to 100 % of the photo and mirror images; labels smoothed by 0.1. Classes of few photos:
  `--data.sampling balanced`, or `--regularization.class-weights balanced`.
- Batch norms are trained. With batches of a few photos: `--fine-tuning.norms frozen`.

Without weights everything is learned from these photos, at one rate, and the run says so: use it for comparison.
"""

from reslab.training.recipe import (
    AdamW,
    Area,
    Cosine,
    DataRecipe,
    FineTuningRecipe,
    HardwareRecipe,
    MonitoringRecipe,
    NoWarmUp,
    Photos,
    Recipe,
    RegularizationRecipe,
    epochs,
    iterations,
)

RECIPE = Recipe(
    name="fine-tune",
    optimizer=AdamW(learning_rate=1e-3, weight_decay=0.05, decay="weights"),
    schedule=Cosine(length=epochs(10), least_iterations=300, warmup=epochs(0.5), deep_warmup=NoWarmUp()),
    data=DataRecipe(
        batch_size=32,
        val_share=0.2,
        normalization="weights",
        images=Photos(train_size=0, test_size=0, test_resize=0, crop=Area(area=(0.35, 1.0))),
    ),
    regularization=RegularizationRecipe(label_smoothing=0.1),
    fine_tuning=FineTuningRecipe(head_first=epochs(1), layer_decay=0.8),
    hardware=HardwareRecipe(precision="auto"),
    monitoring=MonitoringRecipe(
        log_every=iterations(25),
        eval_every=epochs(0.5),
        checkpoint_every=iterations(100),
        weights="best-on-val",
        patience=10,
    ),
)
