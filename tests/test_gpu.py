"""What a GPU must do as a processor does, and the same each time; skipped where there is none."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file
from torch import nn

import reslab
from reslab.data import load_data
from reslab.data.batches import TrainingBatches
from reslab.data.normalization import Normalization
from reslab.environment import describe_environment
from reslab.evaluation.error_rates import evaluate
from reslab.evaluation.protocols import TenCrop
from reslab.evaluation.scoring import predict_split
from reslab.models.devices import exact_arithmetic
from reslab.models.weights import WEIGHTS_NAME
from reslab.trained import load_trained

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here"),
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("default"),
]

GOLDEN = Path(__file__).parent / "training" / "golden" / "resnet8-digits.json"
SHORT = {"hardware.device": "cuda", "monitoring.log_every": "1"}


def trained(folder, net="resnet20", data="digits", *, recipe="digits-quick", iterations=20, **more):
    fields = {**SHORT, **more}
    return reslab.train(net, data, recipe=recipe, fields=fields, iterations=iterations, run_dir=folder).run


def weights(run):
    return {name: array.tobytes() for name, array in load_file(run.folder / WEIGHTS_NAME).items()}


def test_the_environment_names_the_gpu():
    assert torch.cuda.get_device_name(0) in describe_environment()["gpus"]


@pytest.mark.parametrize("kind", ["per-pixel-mean", "per-channel"])
@pytest.mark.parametrize("pad_with", ["mean", "black"])
def test_batches_made_there_are_those_of_numpy_to_the_bit(kind, pad_with):
    train = load_data("digits").split("train")
    normalization = Normalization.measure(train.images, kind)
    here, there = (
        TrainingBatches(train, normalization, 128, 3, 2, pad_with, True, erase=0.5, device=device)
        for device in (None, torch.device("cuda"))
    )
    for iteration in (0, 9, 10):
        for ours, theirs in zip(here.batch(iteration), there.batch(iteration), strict=True):
            assert torch.equal(ours, theirs.cpu())


def test_fp32_is_fp32_and_not_tf32():
    torch.manual_seed(0)
    convolution, images = nn.Conv2d(64, 64, 3, padding=1), torch.randn(16, 64, 32, 32)
    with torch.no_grad():
        exact = convolution.double()(images.double())
        convolution.float().cuda()

        def error():
            return ((convolution(images.cuda()).double().cpu() - exact).norm() / exact.norm()).item()

        careless = error()
        with exact_arithmetic("cuda"):
            assert error() < 1e-6
    assert careless > 1e-5, "torch's own choice is exact by now: exact_arithmetic can go"


def test_the_first_losses_are_those_of_a_processor(tmp_path):
    kept = json.loads(GOLDEN.read_text())["losses"]
    fields = {**SHORT, "hardware.precision": "fp32", "optimizer.learning_rate": "0.003"}
    asked = {"recipe": "digits-quick", "fields": fields, "stop_after": str(len(kept))}
    run = reslab.train("resnet8", "digits", **asked, run_dir=tmp_path / "run").run
    found = [row["loss"] for row in run.rows()]
    assert found == pytest.approx(kept, rel=1e-3)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("net", ["resnet20", "resnet18", "resnet20[stochastic_depth=0.2]", "preact_resnet110"])
def test_two_trainings_are_the_same_to_the_bit(net, precision, tmp_path):
    first, second = (trained(tmp_path / name, net, **{"hardware.precision": precision}) for name in "ab")
    assert weights(first) == weights(second)
    assert [row["loss"] for row in first.rows()] == [row["loss"] for row in second.rows()]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("compiled", ["off", "on"])
def test_a_killed_training_goes_on_to_the_same_bits(compiled, tmp_path):
    more = {"hardware.compile": compiled, "hardware.precision": "bf16", "monitoring.checkpoint_every": "10"}
    whole = trained(tmp_path / "whole", iterations=300, **more)
    command = [sys.executable, "-m", "reslab", "train", "resnet20", "--data", "digits", "--recipe", "digits-quick"]
    command += ["--iterations", "300", "--run-dir", str(tmp_path / "killed"), "--quiet"]
    for name, value in {**SHORT, **more}.items():
        command += [f"--{name.replace('_', '-')}", value]
    process = subprocess.Popen(command)
    end = time.monotonic() + 400
    while not list((tmp_path / "killed").glob("checkpoints/*")) and time.monotonic() < end:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it was done before it could be killed"
    subprocess.run([*command, "--resume"], check=True)
    assert weights(reslab.Run(tmp_path / "killed")) == weights(whole)


def test_evaluations_agree_with_the_processors(tmp_path):
    run = trained(tmp_path / "run", iterations=100)
    found = load_trained(run.folder)
    val = load_data("digits").split("val")
    errors = {}
    for device in ("cpu", "cuda"):
        model = found.to(device).model
        scores = predict_split(model, val, found.normalization, TenCrop(resize=16, crop=14))
        errors[device] = evaluate(model, val, found.normalization), scores
    assert errors["cuda"][0].loss == pytest.approx(errors["cpu"][0].loss, rel=1e-5)
    assert errors["cuda"][0].top1_error == errors["cpu"][0].top1_error
    np.testing.assert_allclose(errors["cuda"][1], errors["cpu"][1], atol=1e-5)


@pytest.mark.parametrize("net", ["resnet56"])
def test_a_memory_limit_holds(net, tmp_path):
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    more = {"hardware.memory": "600MiB", "data.batch_size": "512", "hardware.precision": "bf16"}
    run = trained(tmp_path / "run", net, iterations=5, **more)
    peak = torch.cuda.max_memory_reserved()
    predicted = run.record["execution"]["predicted_bytes"]
    assert predicted <= 600 * 2**20
    assert peak <= 600 * 2**20, (peak / 2**20, predicted / 2**20)


def test_photos_are_trained_on_there(tmp_path):
    generator = np.random.default_rng(0)
    for role, number in (("train", 24), ("val", 6)):
        for name in ("light", "dark"):
            (tmp_path / "photos" / role / name).mkdir(parents=True)
            for index in range(number):
                pixels = generator.integers(0, 128, (70, 90, 3)) + 127 * (name == "light")
                Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "photos" / role / name / f"{index}.jpg")
    first, second = (
        trained(tmp_path / name, "resnet18", tmp_path / "photos", recipe="fine-tune", iterations=4, **more)
        for name, more in (("a", {"hardware.workers": "2"}), ("b", {"hardware.workers": "0"}))
    )
    assert weights(first) == weights(second)
