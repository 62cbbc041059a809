"""ImageNet in 90 epochs, as fb.resnet.torch and torchvision's first weights (V1) were trained.

    reslab train resnet50 --data imagenet/ --recipe imagenet-90

Random crops of 8 to 100 % of the area, mirror images, everyone's mean and std; SGD with momentum 0.9, weight decay 1e-4
on every parameter, batches of 256, the rate 0.1 divided by 10 after 30 and 60 epochs. torchvision's references/
classification without options; fb.resnet.torch has Nesterov's momentum, and colour jitter and lighting too (here
`--data.images.color jitter --data.images.color.strength 0.4` and `--data.images.color pca` are one or the other).

Expected, published for torchvision's V1, top-1 error of one central crop: ResNet-18 30.24, ResNet-34 26.69, ResNet-50
23.87, ResNet-101 22.63, ResNet-152 21.69. Cost: 115 million images.
"""

from reslab.training.recipe import Area, DataRecipe, MonitoringRecipe, NoWarmUp, Photos, Recipe, Steps, epochs

RECIPE = Recipe(
    name="imagenet-90",
    schedule=Steps(
        length=epochs(90), milestones=(epochs(30), epochs(60)), made_for_images=1_281_167, deep_warmup=NoWarmUp()
    ),
    data=DataRecipe(batch_size=256, normalization="imagenet", images=Photos(crop=Area())),
    monitoring=MonitoringRecipe(eval_every=epochs(1)),
)
