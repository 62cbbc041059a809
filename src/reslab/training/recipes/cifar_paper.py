"""CIFAR-10 as in the paper, Sec. 4.2, to the letter.

    reslab train resnet20 --data cifar10 --recipe cifar-paper

SGD with plain momentum 0.9, weight decay 1e-4 on every parameter, batches of 128. Rate 0.1, divided by 10 at 32k and
48k iterations, stop at 64k (163.84 epochs of 50k images); nets of 110 layers and more start at 0.01 until the training
error is below 80 %. Per-pixel mean subtracted; 4 pixels padded on every side, a random 32x32 crop of the image or its
mirror image. All 50k training images and the last checkpoint: nothing is chosen.

Expected on the official data, from Table 6: 8.75 / 7.51 / 7.17 / 6.97 / 6.43 % test error for ResNet-20 / 32 / 44 /
56 / 110 (110: best of five; their mean is 6.61 +/- 0.16).

What the paper leaves open and what is done here is listed in docs/decisions.md.
"""

from reslab.training.recipe import Recipe, Steps

RECIPE = Recipe(name="cifar-paper", schedule=Steps(made_for_images=50_000))
