import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from reslab.analysis.checkpoint_plan import plan_checkpointing
from reslab.analysis.training_memory import (
    FIRST_STEP_BYTES,
    MOST_GAPS,
    estimate_training_memory,
    largest_training_batch,
)
from reslab.errors import ModelError
from reslab.models import create_model, parse_model

# Two steps of training as eager as can be, in a process of their own.
TRAINING = """
import sys
import torch
from torch.nn import functional
from reslab.models import create_model

def megabytes(word):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(word)) * 1024

spelling, side, batch, precision = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
torch.set_num_threads(1)
import reslab.models.build
before = megabytes("VmRSS")
model = create_model(spelling).to(memory_format=torch.channels_last).train()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4, fused=True)
images = torch.ones(batch, side, side, 3).permute(0, 3, 1, 2)
labels = torch.zeros(batch, dtype=torch.int64)
for _ in range(2):
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        logits = model(images)
    functional.cross_entropy(logits.float(), labels).backward()
    del logits
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
print(megabytes("VmHWM") - before)
"""


def measure(spelling, side, batch, precision="fp32", **environment):
    """Peak resident memory of two steps, in bytes, over what the process had before."""
    if not Path("/proc/self/status").exists():
        pytest.skip("there is no /proc here to measure memory with")
    command = [sys.executable, "-c", TRAINING, spelling, str(side), str(batch), precision]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True, env=environment)
    return int(done.stdout)


# glibc then gives every tensor pages of its own, and leaves no gaps.
EXACT = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_estimate_is_what_training_takes(precision):
    estimated = estimate_training_memory(parse_model("resnet20"), (32, 32), 64, precision)
    assert measure("resnet20", 32, 64, precision, **EXACT) == pytest.approx(estimated, rel=0.15)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spelling", "side", "batch"), [("resnet56", 32, 64), ("resnet18", 224, 16), ("resnet50", 224, 8)]
)
def test_the_estimate_is_what_training_takes_also_of_larger_nets(spelling, side, batch):
    spec = parse_model(spelling)
    reduced = estimate_training_memory(spec, (side, side), batch, "bf16")
    assert measure(spelling, side, batch, "bf16", **EXACT) == pytest.approx(reduced, rel=0.15)
    estimated = estimate_training_memory(spec, (side, side), batch)
    assert measure(spelling, side, batch, **EXACT) == pytest.approx(estimated, rel=0.15)
    with_gaps = FIRST_STEP_BYTES + MOST_GAPS * (estimated - FIRST_STEP_BYTES)
    assert 0.85 * estimated < measure(spelling, side, batch) < 1.05 * with_gaps


@pytest.mark.parametrize(
    ("spelling", "side"),
    [
        ("resnet20", 32),
        ("resnet20[norm=group,shortcut=gated]", 32),
        ("resnet50[blocks=1-1-1-1]", 64),
        ("vgg16_bn[blocks=1-1,widths=8-8]", 32),
    ],
)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_most_of_it_is_what_autograd_saves(spelling, side, precision):
    """Counted on the CPU, by autograd's own hooks: less than the estimate by gradients and what lives for a moment."""
    batch, model = 16, create_model(spelling).train()
    saved = {}

    def note(tensor):
        storage = tensor.untyped_storage()
        saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    images, labels = torch.randn(batch, 3, side, side), torch.zeros(batch, dtype=torch.int64)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            logits = model(images)
        loss = functional.cross_entropy(logits.float(), labels)
    parameters = {parameter.data_ptr(): parameter.nbytes for parameter in model.parameters()}
    kept = sum((saved | parameters).values()) + sum(parameters.values())  # momentum
    estimated = estimate_training_memory(model.spec, (side, side), batch, precision) - FIRST_STEP_BYTES
    assert loss.isfinite()
    assert kept < estimated < 1.2 * kept + sum(parameters.values())


def test_each_image_takes_as_much_as_the_other():
    """But in small batches, where the worst moment is another one: when all gradients are there."""
    spec = parse_model("resnet20")
    small, large, huge = (estimate_training_memory(spec, (32, 32), batch) for batch in (100, 200, 1000))
    assert huge - large == 8 * (large - small)
    one, two, three = (estimate_training_memory(spec, (32, 32), batch) for batch in (1, 2, 3))
    assert 0 < two - one <= three - two <= (large - small) / 100
    assert estimate_training_memory(spec, (64, 64), 1000) == pytest.approx(4 * huge, rel=0.1)


def test_deeper_wider_and_projecting_nets_take_more():
    def estimate(spelling):
        return estimate_training_memory(parse_model(spelling), (32, 32), 64)

    assert estimate("plain20") <= estimate("resnet20") < estimate("resnet20[shortcut=C]") < estimate("resnet56")
    assert estimate("resnet20[norm=none]") < estimate("resnet20") < estimate("resnet20[stochastic_depth=0.5]")


@pytest.mark.parametrize("gigabytes", [0.25, 1, 8])
@pytest.mark.parametrize("spelling", ["resnet20", "resnet20[num_classes=0]", "resnet50[stem=cifar,blocks=1-1-1-1]"])
def test_the_largest_batch_just_fits(spelling, gigabytes):
    spec, memory = parse_model(spelling), int(gigabytes * 1e9)
    batch = largest_training_batch(spec, (32, 32), memory)
    if batch:
        assert estimate_training_memory(spec, (32, 32), batch) <= memory
    assert estimate_training_memory(spec, (32, 32), batch + 1) > memory
    fewer = largest_training_batch(spec, (32, 32), memory, gaps=2.0)
    assert 0 <= fewer <= batch
    assert fewer == pytest.approx(batch / 2, abs=0.1 * batch + 1) or memory < 1e9


def test_no_batch_fits_into_less_than_the_weights():
    assert largest_training_batch(parse_model("vgg16"), (224, 224), 1_000_000_000) == 0
    assert largest_training_batch(parse_model("resnet20"), (32, 32), -1) == 0


def test_images_too_small_for_a_network_get_a_sentence():
    with pytest.raises(ModelError, match="too small"):
        estimate_training_memory(parse_model("resnet20[shortcut=avgpool]"), (1, 1), 2)


@pytest.mark.parametrize(
    ("spelling", "side", "batch"),
    [
        ("resnet56", 32, 128),
        pytest.param("resnet50", 64, 32, marks=pytest.mark.slow),
        pytest.param("preact_resnet110", 32, 64, marks=pytest.mark.slow),
        ("resnet20[stochastic_depth=0.5]", 32, 256),
    ],
)
def test_a_plan_takes_no_more_than_it_may_and_the_less_the_more_it_computes_again(spelling, side, batch):
    spec = parse_model(spelling)
    whole = estimate_training_memory(spec, (side, side), batch)
    least = estimate_training_memory(spec, (side, side), 2)  # the weights, above all
    limits = [least + int(share * (whole - least)) for share in (1.0, 0.8, 0.65)]
    plans = [plan_checkpointing(spec, (side, side), batch, limit) for limit in limits]
    assert plans[0].segments == ()
    assert plans[0].recomputed == 0
    assert plans[0].peak_bytes == whole
    for limit, plan in zip(limits[1:], plans[1:], strict=True):
        assert 0.6 * limit < plan.peak_bytes <= limit  # what may be used is
        assert len(plan.segments) == len(spec.blocks)
        assert all(sum(stage) <= blocks for stage, blocks in zip(plan.segments, spec.blocks, strict=True))
    assert 0 < plans[1].recomputed <= plans[2].recomputed <= 1


def test_a_plan_is_what_autograd_keeps():
    """Bytes saved for the gradients with and without a plan, counted on the CPU by autograd's own hooks."""
    spec, batch = parse_model("resnet56"), 16
    whole = estimate_training_memory(spec, (32, 32), batch)
    plan = plan_checkpointing(spec, (32, 32), batch, FIRST_STEP_BYTES + (whole - FIRST_STEP_BYTES) // 2)

    def kept(segments):
        model = create_model(spec).to(memory_format=torch.channels_last).train()
        if segments:
            model.set_grad_checkpointing(segments=segments)
        saved = {}

        def note(tensor):
            saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        images = torch.randn(batch, 3, 32, 32).to(memory_format=torch.channels_last)
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            loss = model(images).sum()
        assert loss.isfinite()
        return sum(saved.values())

    assert kept(plan.segments) < 0.5 * kept(())


@pytest.mark.parametrize("spelling", ["resnet20", "vgg16[widths=8-8-8-8-8]"])
def test_a_limit_that_nothing_fits_gets_a_sentence(spelling):
    with pytest.raises(ModelError, match="take smaller batches"):
        plan_checkpointing(parse_model(spelling), (32, 32), 1024, FIRST_STEP_BYTES + 1_000_000)
