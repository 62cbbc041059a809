# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # From a folder of images to a classifier one understands
#
# This notebook needs no download. It writes scikit-learn's handwritten digits as files, teaches a network the digits 0
# to 6, and then shows it a few images of 7, 8 and 9: what it has learned of the first serves the others.
# With photos of your own, begin at the fine-tuning, with `weights="torchvision:V1"` and a `resnet18`.

# %%
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

import reslab
from reslab.data.check import check_data

folder = Path(tempfile.mkdtemp())
digits = load_digits()
for number, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
    if label < 7:
        place = folder / "many" / "train" / str(label)
    else:  # ten images of each are for training, and the others are for the test
        seen = (digits.target[:number] == label).sum() < 10
        place = folder / "few" / ("train" if seen else "test") / str(label)
    place.mkdir(parents=True, exist_ok=True)
    grey = np.round(pixels * (255 / 16)).astype(np.uint8)
    Image.fromarray(grey).resize((32, 32), Image.Resampling.BILINEAR).save(place / f"{number:04}.png")

# %% [markdown]
# ## Look at the data first
#
# `reslab data check` finds damaged images, the same image in two places, and classes that are almost empty.

# %%
print(check_data(folder / "few"))

# %% [markdown]
# ## Pretraining
#
# On your own machine this step is a download: weights that others have trained on a million photos.

# %%
NET = "resnet8"
pretrained = reslab.train(NET, folder / "many", recipe="cifar-paper", iterations=200, run_dir=folder / "pretrained")
print(pretrained)

# %% [markdown]
# ## Fine-tuning, and the same from scratch
#
# The recipe `fine-tune` takes normalisation and size from the weights, trains the new classifier first, and then all
# layers, the earlier ones more slowly. With thirty images it sees each of them many times.

# %%
settings = {"recipe": "fine-tune", "iterations": 120, "fields": {"data.flip": "false", "data.batch_size": "8"}}
tuned = reslab.train(NET, folder / "few", weights=pretrained.run.folder, run_dir=folder / "tuned", **settings)
scratch = reslab.train(NET, folder / "few", run_dir=folder / "scratch", **settings)

errors = {}
for name, result in (("fine-tuned", tuned), ("from scratch", scratch)):
    errors[name] = reslab.load(result.run.folder).evaluate(split="test", progress=False).evaluation.top1_error
    print(f"{name}: {errors[name]:.1f} % error on the test images of 7, 8 and 9")

# %% [markdown]
# ## Use it

# %%
network = reslab.load(tuned.run.folder)
files = sorted((folder / "few" / "test").rglob("*.png"))[::60]
for prediction in network.predict(files, top=2):
    shown = ", ".join(
        f"{label} {share:.2f}" for label, share in zip(prediction.labels, prediction.probabilities, strict=True)
    )
    print(prediction.path.parent.name, "->", shown)

# %% [markdown]
# And as one file that runs without this package, after the two were compared:

# %%
print(network.export(folder / "digits.onnx"))
