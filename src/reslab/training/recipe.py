"""Recipes: everything that decides how a network is trained, and nothing that decides what it is.

`recipe_files` finds and reads them. Importing either imports no torch.
"""

from dataclasses import asdict, dataclass, field, fields, replace
from math import isfinite
from typing import Any, Literal

from reslab.environment import parse_size
from reslab.errors import RecipeError, ReslabError

__all__ = [
    "DataRecipe",
    "HardwareRecipe",
    "MonitoringRecipe",
    "OptimizerRecipe",
    "Recipe",
    "RegularizationRecipe",
    "ScheduleRecipe",
]

Switch = Literal["auto", "on", "off"]


@dataclass(frozen=True, kw_only=True)
class OptimizerRecipe:
    """SGD with momentum (Sec. 3.4, 4.2), LAMB, or Muon."""

    kind: Literal["sgd", "lamb", "muon"] = "sgd"
    """sgd; lamb, which scales every layer's step to its weights (arXiv 1904.00962); or muon, which makes the steps of
    all convolutions but the first orthogonal, and takes SGD's for the rest (kellerjordan.github.io/posts/muon)."""
    learning_rate: float = 0.1
    """Rate before the first milestone."""
    momentum: float = 0.9
    """Of the gradients; in torch's form v = m v + g, w = w - rate v. LAMB's first beta."""
    nesterov: bool = False
    """Nesterov's momentum; the paper's is plain."""
    orthogonal_factor: float = 0.25
    """Of Muon: the rate of orthogonal steps is so many times the learning rate."""
    weight_decay: float = 1e-4
    """L2 penalty, added to the gradients; orthogonal steps have none."""
    decay: Literal["all", "weights"] = "all"
    """What decays: every parameter, or convolutions and the classifier's matrix only."""
    clip_norm: float = 0.0
    """The gradients' norm over all parameters is scaled down to this where it is larger; 0 for never."""
    accumulate: int = 1
    """Parts that a batch is computed in, their gradients added up: less memory, and batch norm over each part alone."""

    def __post_init__(self) -> None:
        _check(self.learning_rate > 0, "optimizer.learning_rate must be positive", self.learning_rate)
        _check(0 <= self.momentum < 1, "optimizer.momentum must be in [0, 1)", self.momentum)
        _check(self.weight_decay >= 0, "optimizer.weight_decay must not be negative", self.weight_decay)
        _check(self.clip_norm >= 0, "optimizer.clip_norm must not be negative", self.clip_norm)
        _check(self.accumulate > 0, "optimizer.accumulate must be positive", self.accumulate)
        _check(self.orthogonal_factor > 0, "optimizer.orthogonal_factor must be positive", self.orthogonal_factor)
        if self.nesterov and (self.momentum == 0 or self.kind == "lamb"):
            raise RecipeError("optimizer.nesterov needs SGD or Muon and a momentum above 0.")


@dataclass(frozen=True, kw_only=True)
class ScheduleRecipe:
    """The rate at every iteration; the paper's: constant between milestones, after a warm-up for very deep nets."""

    iterations: int = 64_000
    """Where training stops."""
    decay: Literal["steps", "plateau", "linear", "cosine"] = "steps"
    """How the rate falls: in steps at the milestones, or when the val error no longer falls (Sec. 3.4); or to 0 at the
    end, linearly or as half a cosine (arXiv 1608.03983)."""
    milestones: tuple[int, ...] = (32_000, 48_000)
    """Of steps: iterations from which the rate is multiplied by the factor once more."""
    factor: float = 0.1
    """Of steps and plateau: by which the rate is multiplied each time."""
    plateau_evaluations: int = 5
    """Of plateau: so many evaluations in a row without a better val error, and the rate falls."""
    plateau_threshold: float = 0.1
    """Of plateau: points of val error by which an evaluation must beat the best one to count as better."""
    plateau_drops: int = 3
    """Of plateau: the rate falls so often at most."""
    warmup_iterations: int = 0
    """Over which the rate rises linearly from 0 first (arXiv 1706.02677)."""
    warmup_rate: float = 0.01
    """Rate of the warm-up."""
    warmup_until_train_error: float = 80.0
    """The warm-up ends when the training error over the last warmup_window iterations is below this, in %."""
    warmup_window: int = 50
    """Iterations over which that error is averaged."""
    warmup_from_depth: int = 110
    """Nets of at least so many layers warm up; 0 for none."""

    def __post_init__(self) -> None:
        _check(0 < self.iterations <= 1 << 40, "schedule.iterations must be positive, and below 2^40", self.iterations)
        _check(self.factor > 0, "schedule.factor must be positive", self.factor)
        _check(self.plateau_evaluations > 0, "schedule.plateau_evaluations must be positive", self.plateau_evaluations)
        _check(self.plateau_threshold >= 0, "schedule.plateau_threshold must not be negative", self.plateau_threshold)
        _check(self.plateau_drops >= 0, "schedule.plateau_drops must not be negative", self.plateau_drops)
        _check(self.warmup_rate > 0, "schedule.warmup_rate must be positive", self.warmup_rate)
        _check(self.warmup_window > 0, "schedule.warmup_window must be positive", self.warmup_window)
        _check(self.warmup_from_depth >= 0, "schedule.warmup_from_depth must not be negative", self.warmup_from_depth)
        _check(
            0 <= self.warmup_iterations < self.iterations,
            "schedule.warmup_iterations must be at least 0 and below schedule.iterations",
            self.warmup_iterations,
        )
        if list(self.milestones) != sorted(set(self.milestones)) or any(item <= 0 for item in self.milestones):
            raise RecipeError(f"schedule.milestones must be positive and increasing, not {self.milestones}.")
        if self.decay == "steps" and self.milestones and self.milestones[-1] >= self.iterations:
            raise RecipeError(
                f"schedule.milestones {self.milestones} must lie before schedule.iterations {self.iterations}; "
                "to shorten a recipe as a whole use --iterations."
            )


@dataclass(frozen=True, kw_only=True)
class DataRecipe:
    """Batches, their normalisation and augmentation: of small images (Sec. 4.2) or of photos (Sec. 3.4)."""

    batch_size: int = 128
    """Images an iteration."""
    val_images: int = 0
    """Held out of train for validation, the same share of every class; 5,000 in the paper's 45k/5k."""
    normalization: Literal["per-pixel-mean", "per-channel", "imagenet"] = "per-pixel-mean"
    """Subtract the mean of every pixel (the paper), or the mean of every channel and divide by its std; imagenet: the
    channels' mean and std that everyone uses for ImageNet, so that nothing has to be measured."""
    flip: bool = True
    """Mirror every other image, at random."""
    erase: float = 0.0
    """Share of the images that lose a random rectangle (arXiv 1708.04896)."""
    initial_scale: float = 1.0
    """Progressive resizing: training begins with images scaled to this share of their sides, to a multiple of 4 pixels,
    which takes less time; 1 for none."""
    initial_share: float = 0.5
    """Of progressive resizing: the share of the iterations that it lasts."""
    images: Literal["small", "photos"] = "small"
    """small: of one size, all in memory. photos: files of any size, decoded when a batch needs them."""
    pad: int = 4
    """Of small images: pixels added on every side before the random crop; 0 for no crop."""
    pad_with: Literal["mean", "black"] = "mean"
    """Of small images: what the added pixels are, the mean (zero once normalised) or black."""
    train_size: int = 224
    """Of photos: side of the random crop."""
    test_size: int = 224
    """Of photos: side of the central crop in tests."""
    test_resize: int = 256
    """Of photos: shorter side to which they are resized before that."""
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    """Of photos: of the resizing."""
    crop: Literal["shorter-side", "area"] = "shorter-side"
    """Of photos: a crop of the photo resized to a random shorter side (the paper), or of a random share of its area and
    a random aspect ratio, resized (GoogLeNet, and nearly everyone since)."""
    shorter_side: tuple[int, int] = (256, 480)
    """Of photos: least and greatest shorter side."""
    area: tuple[float, float] = (0.08, 1.0)
    """Of photos: least and greatest share of the area."""
    color: Literal["none", "pca", "jitter"] = "none"
    """Of photos: AlexNet's shifts along the principal components of ImageNet's colours, or random brightness, contrast
    and saturation."""
    color_strength: float = 0.1
    """Of photos: standard deviation of the shifts in units of the components' (the paper: 0.1), or share by which the
    three are changed at most."""
    auto_augment: Literal["none", "trivial", "rand"] = "none"
    """Of photos: TrivialAugment (arXiv 2103.10158), or RandAugment (arXiv 1909.13719)."""
    rand_operations: int = 2
    """Of RandAugment: operations an image."""
    rand_magnitude: int = 7
    """Of RandAugment: strength, from 0 to 30."""
    reduced_decoding: bool = False
    """Of photos: decode large JPEGs at an eighth to half of their side where the crop keeps twice its pixels each way.
    That takes a fifth of the time for 12 megapixels, and changes pixels by less than two grey levels on average."""
    repeats: int = 1
    """Of photos: times that an epoch shows an image, each with its own augmentation; the epoch keeps its length and so
    shows fewer images (arXiv 1902.05509)."""

    def __post_init__(self) -> None:
        _check(self.batch_size > 1, "data.batch_size must be at least 2 (batch norm)", self.batch_size)
        _check(self.batch_size <= 1 << 20, "data.batch_size must be at most 2^20", self.batch_size)
        _check(self.val_images >= 0, "data.val_images must not be negative", self.val_images)
        _check(0 <= self.pad <= 64, "data.pad must be between 0 and 64 pixels", self.pad)
        for name in ("train_size", "test_size", "test_resize"):
            _check(0 < getattr(self, name) <= 4096, f"data.{name} must be between 1 and 4096", getattr(self, name))
        _check(self.test_resize >= self.test_size, "data.test_resize must be at least data.test_size", self.test_resize)
        _check(
            len(self.shorter_side) == 2 and 0 < self.shorter_side[0] <= self.shorter_side[1] <= 4096,
            "data.shorter_side must be two numbers of pixels up to 4096, the smaller one first",
            self.shorter_side,
        )
        if self.crop == "shorter-side" and self.images == "photos" and self.shorter_side[0] < self.train_size:
            raise RecipeError(
                f"photos with a shorter side of {self.shorter_side[0]} pixels hold no crop of {self.train_size}; "
                "change data.shorter_side or data.train_size."
            )
        _check(
            len(self.area) == 2 and 0 < self.area[0] <= self.area[1] <= 1,
            "data.area must be two shares above 0 and up to 1, the smaller one first",
            self.area,
        )
        _check(0 <= self.color_strength <= 1, "data.color_strength must be between 0 and 1", self.color_strength)
        _check(0 <= self.rand_operations <= 10, "data.rand_operations must be between 0 and 10", self.rand_operations)
        _check(0 <= self.rand_magnitude <= 30, "data.rand_magnitude must be between 0 and 30", self.rand_magnitude)
        _check(0 <= self.erase <= 1, "data.erase must be between 0 and 1", self.erase)
        _check(0 < self.initial_scale <= 1, "data.initial_scale must be above 0 and at most 1", self.initial_scale)
        _check(0 <= self.initial_share <= 1, "data.initial_share must be between 0 and 1", self.initial_share)
        _check(1 <= self.repeats <= 64, "data.repeats must be between 1 and 64", self.repeats)


@dataclass(frozen=True, kw_only=True)
class RegularizationRecipe:
    """What keeps a network from being too sure, besides weight decay; the paper has none of it."""

    label_smoothing: float = 0.0
    """Share of each label that is spread evenly over all classes (arXiv 1512.00567)."""
    mixup: float = 0.0
    """Alpha of the mixing of pairs of images (arXiv 1710.09412); 0 for none. With cutmix, each takes half the
    batches."""
    cutmix: float = 0.0
    """Alpha of the pasting of one image's rectangle into another (arXiv 1905.04899); 0 for none."""
    loss: Literal["cross-entropy", "binary-cross-entropy"] = "cross-entropy"
    """Over all classes at once, or of each class against the rest (arXiv 2110.00476)."""
    target_threshold: float = 0.0
    """Of binary cross-entropy: a class whose share of a mixed image is above this is wholly there, and any other not at
    all; 0 keeps the shares."""
    ema_decay: float = 0.0
    """The weights that a run leaves are an average in which each iteration's weigh so much less than the next one's;
    0 for no averaging."""
    ghost_batch: int = 0
    """Batch norm takes its statistics over so many images instead of the whole batch (arXiv 1705.08741): 32 are those
    of one of the paper's 8 GPUs. 0 for the whole."""

    def __post_init__(self) -> None:
        _check(
            0 <= self.label_smoothing < 1,
            "regularization.label_smoothing must be at least 0 and below 1",
            self.label_smoothing,
        )
        _check(0 <= self.mixup <= 100, "regularization.mixup must be between 0 and 100", self.mixup)
        _check(0 <= self.cutmix <= 100, "regularization.cutmix must be between 0 and 100", self.cutmix)
        _check(
            0 <= self.target_threshold < 1,
            "regularization.target_threshold must be at least 0 and below 1",
            self.target_threshold,
        )
        _check(0 <= self.ema_decay < 1, "regularization.ema_decay must be at least 0 and below 1", self.ema_decay)
        _check(
            self.ghost_batch == 0 or self.ghost_batch > 1,
            "regularization.ghost_batch must be 0 or at least 2",
            self.ghost_batch,
        )


@dataclass(frozen=True, kw_only=True)
class HardwareRecipe:
    """Where and how it is computed; `auto` is decided once, when a run starts, and kept in the run."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps."""
    threads: int = 0
    """Threads on a CPU; 0 for one a core."""
    channels_last: Switch = "auto"
    """NHWC layout in memory."""
    compile: Switch = "auto"
    """torch.compile; auto compiles where norms are not fused otherwise and the time saved is clearly more than
    compiling takes."""
    fused_norms: Switch = "auto"
    """Batch norm, the addition of a shortcut and ReLU as one kernel of our own, on a CPU and where nothing is compiled;
    it takes a C++ compiler."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "fp32"
    """Of convolutions and products; weights, statistics and the loss stay fp32. auto: bf16 where the processor has
    instructions for it. fp16 scales the loss, for GPUs without bf16."""
    workers: int = -1
    """Processes that decode photos; 0 to decode in the training process, -1 for one a core."""
    memory: str = ""
    """Limit for the whole process, as in 2GiB (on a GPU, for its memory): blocks are computed again for the gradients
    where it is needed, which changes the time and not the weights. Processes that decode photos are not counted. Empty
    for none."""

    def __post_init__(self) -> None:
        if self.memory:
            try:
                parse_size(self.memory)
            except ReslabError as error:
                raise RecipeError(f"hardware.memory: {error}") from None
        _check(-1 <= self.workers <= 256, "hardware.workers must be between -1 and 256", self.workers)
        _check(0 <= self.threads <= 1024, "hardware.threads must be between 0 and 1024", self.threads)


@dataclass(frozen=True, kw_only=True)
class MonitoringRecipe:
    """How often what is recorded; in iterations."""

    log_every: int = 100
    """A row in metrics.jsonl."""
    eval_every: int = 1000
    """Validation; also the test curve of experiments."""
    checkpoint_every: int = 1000
    """A state to resume from."""
    keep_checkpoints: int = 2
    """The newest so many are kept, and the one that is best on val."""
    weights: Literal["last", "best-on-val"] = "last"
    """Which state becomes weights.safetensors."""
    precise_bn_images: int = 0
    """Training images over which batch-norm statistics are averaged at the end; 0 keeps the moving averages."""

    def __post_init__(self) -> None:
        for name in ("log_every", "eval_every", "checkpoint_every", "keep_checkpoints"):
            _check(getattr(self, name) > 0, f"monitoring.{name} must be positive", getattr(self, name))
        _check(self.precise_bn_images >= 0, "monitoring.precise_bn_images must not be negative", self.precise_bn_images)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train: optimizer, schedule, data, regularization, hardware and monitoring."""

    name: str
    """What the recipe is known by."""
    optimizer: OptimizerRecipe = field(default_factory=OptimizerRecipe)
    schedule: ScheduleRecipe = field(default_factory=ScheduleRecipe)
    data: DataRecipe = field(default_factory=DataRecipe)
    regularization: RegularizationRecipe = field(default_factory=RegularizationRecipe)
    hardware: HardwareRecipe = field(default_factory=HardwareRecipe)
    monitoring: MonitoringRecipe = field(default_factory=MonitoringRecipe)

    def __post_init__(self) -> None:
        parts, batch_size = self.optimizer.accumulate, self.data.batch_size
        if batch_size % parts or (parts > 1 and batch_size // parts < 2):
            raise RecipeError(
                f"data.batch_size {batch_size} cannot be computed in optimizer.accumulate = {parts} equal parts of two "
                "images or more."
            )
        ghost = self.regularization.ghost_batch
        if ghost and batch_size // parts > ghost and batch_size // parts % ghost == 1:
            raise RecipeError(
                f"{batch_size // parts} images in ghost batches of {ghost} leave a single one, of which batch norm has "
                "no statistics; change regularization.ghost_batch."
            )
        for table in fields(self):
            for name, value in vars(getattr(self, table.name)).items() if table.name != "name" else ():
                if isinstance(value, float) and not isfinite(value):
                    raise RecipeError(f"{table.name}.{name} must be a finite number, not {value}.")

    def rescaled(self, iterations: int) -> "Recipe":
        """The same recipe with its whole schedule stretched or shrunk to a number of iterations.

        Milestones, warm-up and averaging keep their share of the whole; intervals of monitoring keep it where they
        shrink.
        """
        _check(iterations > 0, "the number of iterations must be positive", iterations)
        old = self.schedule
        milestones = tuple(round(item * iterations / old.iterations) for item in old.milestones)
        shrink = min(1.0, iterations / old.iterations)
        monitoring = replace(
            self.monitoring,
            log_every=min(self.monitoring.log_every, max(1, iterations // 100)),
            eval_every=max(1, round(self.monitoring.eval_every * shrink), iterations // 10),
            checkpoint_every=min(self.monitoring.checkpoint_every, max(1, iterations // 10)),
        )
        schedule = replace(
            old,
            iterations=iterations,
            milestones=tuple(sorted({item for item in milestones if 0 < item < iterations})),
            warmup_iterations=old.warmup_iterations * iterations // old.iterations,
        )
        decay = self.regularization.ema_decay
        regularization = replace(
            self.regularization, ema_decay=decay ** (old.iterations / iterations) if decay else 0.0
        )
        return replace(self, schedule=schedule, regularization=regularization, monitoring=monitoring)

    def to_dict(self) -> dict[str, Any]:
        """The recipe as plain values."""
        values = asdict(self)
        for table in values.values():
            if isinstance(table, dict):
                table.update({name: list(value) for name, value in table.items() if isinstance(value, tuple)})
        return values


def _check(condition: bool, sentence: str, value: object) -> None:
    if not condition:  # also for NaN, which compares false
        raise RecipeError(f"{sentence}, not {value}.")
