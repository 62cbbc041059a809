"""The paper's ImageNet training (Sec. 3.4).

    reslab train resnet34 --data imagenet/ --recipe imagenet-paper

- The shorter side is random in [256, 480]; a 224 crop of the photo or its mirror image, the mean of every pixel
  subtracted, and AlexNet's colour augmentation.
- SGD with momentum 0.9 and weight decay 1e-4 on every parameter, batches of 256, up to 60e4 iterations (120 epochs),
  the rate 0.1 and divided by 10 "when the error plateaus".
- The 8 GPUs held 32 images each. A batch is computed in 8 parts, so that batch norm takes its statistics over 32 as
  there, and a small machine's memory suffices. `--optimizer.accumulate 1 --regularization.ghost-batch 32` is the same
  on one large GPU.

What the paper leaves open: what a plateau is. Here, five evaluations in a row, one every 5,000 iterations (an epoch),
without a val error 0.1 points better; at most three drops. fb.resnet.torch drops after 30 and 60 of 90 epochs: that is
`imagenet-90`. Which crops the mean is taken over: the central ones of train. The learning rate then falls with val, so
an error on val is a little optimistic, as it was in the paper.

Expected: the paper's Table 2 and 3, top-1 error of ten crops: ResNet-18 27.88, ResNet-34 25.03 (option A), ResNet-50
22.85. Cost: 153.6 million images; for ResNet-50, at 4.1 billion multiply-adds forward and twice that backward, 3.8e18
operations: 15 days at 3 TFLOP/s, seven months at the 0.2 of two CPU cores.
"""

from reslab.training.recipe import DataRecipe, MonitoringRecipe, NoWarmUp, Pca, Photos, Plateau, Recipe, Sgd, iterations

RECIPE = Recipe(
    name="imagenet-paper",
    optimizer=Sgd(accumulate=8),
    schedule=Plateau(length=iterations(600_000), made_for_images=1_281_167, deep_warmup=NoWarmUp()),
    data=DataRecipe(batch_size=256, images=Photos(color=Pca())),
    monitoring=MonitoringRecipe(eval_every=iterations(5_000)),
)
