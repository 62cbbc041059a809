"""How command lines are read, and what helps to write them: for all commands alike, from their fields."""

import re
import shutil
import subprocess
import sys
from importlib import import_module

import pytest

from reslab.cli.command import Command
from reslab.cli.help import flag_name, gathered, help_text
from reslab.cli.main import COMMANDS, main
from reslab.cli.parser import SYNONYMS, UsageError, parse
from reslab.fields import knobs
from reslab.training.recipe_overrides import meant_field


def all_commands() -> dict[str, Command]:
    """Every command by what is written behind `reslab`, those below others too."""
    found = {}
    for name in COMMANDS:
        for below, command in import_module(f"reslab.cli.{name.replace('-', '_')}").COMMANDS.items():
            found[f"{name} {below}".strip()] = command
    return found


ALL = all_commands()


def read(line: str, *more: str):
    """The form of a command line whose words have no spaces."""
    name = next(name for name in sorted(ALL, key=len, reverse=True) if f"{line} ".startswith(f"{name} "))
    command = ALL[name]
    return parse(command.form, name, [*line.removeprefix(name).split(), *more])


# What is read


def test_a_flag_may_have_underscores_and_an_equals_sign():
    asked = read("train resnet20 --run_dir a_b --stop-after=5 --data.batch_size=8 --hardware.fused_norms off")
    assert (str(asked.run_dir), asked.stop_after) == ("a_b", "5")  # the value's own underscore stays
    assert asked.fields == {"data.batch_size": "8", "hardware.fused_norms": "off"}


def test_flags_and_arguments_come_in_any_order():
    first = read("eval a b --data digits --split val")
    assert first == read("eval --data digits a --split val b")
    assert first.networks == ("a", "b")


def test_a_table_stands_for_its_kind():
    asked = read("train resnet20 --optimizer muon --data.images photos --schedule.kind linear")
    assert asked.fields == {"optimizer.kind": "muon", "data.images.kind": "photos", "schedule.kind": "linear"}


def test_a_switch_is_turned_on_or_off():
    assert read("eval a").cache
    assert not read("eval a --no-cache").cache
    assert read("train a --resume").resume
    fields = read("train a --optimizer.no-nesterov").fields
    assert fields == {"optimizer.nesterov": "false"}
    assert read("train a --optimizer.nesterov").fields == {"optimizer.nesterov": "true"}
    assert read("train a --data.flip").fields == {"data.flip": "true"}
    assert read("train a --data.no-flip").fields == {"data.flip": "false"}


def test_a_list_takes_spaces_or_commas():
    for words in ("1 16", "1,16", "1, 16"):
        assert read(f"bench inference resnet20 --batch-size {words}").batch_size == (1, 16)
    assert read("bench inference resnet20 --batch-size 4").batch_size == (4,)
    for words in ("onnxruntime openvino", "onnxruntime"):
        assert read(f"bench inference a --engines {words}").engines == tuple(words.split())
    assert read("export onnx a --mean 0.5,0.25,1").mean == (0.5, 0.25, 1.0)
    assert read("eval a --protocol dense --scales 64,96").options == {"scales": "64,96"}


def test_negative_numbers_are_values():
    assert read("train a --hardware.workers -1").fields == {"hardware.workers": "-1"}
    assert read("quantize a --max-drop -0.5").max_drop == -0.5


def test_what_follows_two_dashes_is_no_flag():
    assert read("models -- *8").pattern == "*8"


# What is not


WRONG = [
    # Other programs' names
    ("train resnet20 --lr 0.1", "reslab train has no --lr; it is called --optimizer.learning-rate."),
    ("train resnet20 --wd 0.1", "reslab train has no --wd; it is called --optimizer.weight-decay."),
    ("train resnet20 --batch 8", "reslab train has no --batch; it is called --batch-size."),
    ("train resnet20 --num-workers 8", "reslab train has no --num-workers; it is called --workers."),
    ("train resnet20 --num_workers=8", "reslab train has no --num-workers; it is called --workers."),
    ("train resnet20 --gpu 0", "reslab train has no --gpu; it is called --device."),
    ("train resnet20 --dataset digits", "reslab train has no --dataset; it is called --data."),
    ("eval a --batch 8", "reslab eval has no --batch; it is called --batch-size."),
    ("summary a --batch 8", "reslab summary has no --batch; it is called --batch-size."),
    ("predict a b --topk 1", "reslab predict has no --topk; it is called --top."),
    # Our own, of another time or without their table
    ("train resnet20 --data.pad 2", "reslab train has no --data.pad; it is called --data.images.pad."),
    ("train resnet20 --momentum 0.9", "reslab train has no --momentum; it is called --optimizer.momentum."),
    # Near ones
    ("train resnet20 --itertions 5", "reslab train has no --itertions; did you mean --iterations?"),
    ("train resnet20 --optimizer.momentun 1", "no --optimizer.momentun; did you mean --optimizer.momentum?"),
    ("eval a --dat digits", "reslab eval has no --dat; did you mean --data?"),
    ("models --wholly-unlike 1", "reslab models has no --wholly-unlike; `reslab models --help-all` lists all."),
    # No value, an empty one, or several
    ("train resnet20 --data", "--data needs a value behind it."),
    ("train resnet20 --data --resume", "--data needs a value behind it."),
    ("train resnet20 --optimizer.kind", "--optimizer.kind needs a value behind it."),
    ("bench inference a --batch-size", "--batch-size needs a value behind it."),
    ("train resnet20 --resume=yes", "--resume takes no value, and got 'yes'."),
    ("train resnet20 resnet32", "reslab train does not know what to do with 'resnet32'"),
    # Values that do not do
    ("train resnet20 --iterations 0", "--iterations must be a whole number of at least 1, not 0."),
    ("train resnet20 --iterations 1_000", "--iterations must be a whole number of at least 1, not 1_000."),
    ("train resnet20 --iterations 1.5", "--iterations must be a whole number of at least 1, not 1.5."),
    ("train resnet20 --epochs 0", "--epochs must be a number above 0, not 0."),
    ("train resnet20 --epochs nan", "--epochs must be a number above 0, not nan."),
    ("train resnet20 --seed -1", "--seed must be a whole number of at least 0, not -1."),
    ("eval a --split tets", "--split must be train, val or test, not tets; did you mean test?"),
    ("eval a --protocol ten-crops", "--protocol must be one-crop, ten-crop, shifted or dense, not ten-crops; did you"),
    (
        "bench inference a --batch-size 1 x",
        "--batch-size must be whole numbers of at least 1, with commas or spaces",
    ),
    ("export onnx a --mean 0.5;0.5", "--mean must be numbers, joined by commas, not 0.5;0.5."),
    ("completion fish", "SHELL must be bash, zsh or tcsh, not fish"),
    # Nothing where something is needed
    ("predict", "reslab predict needs NET: A run's folder;"),
    ("convert", "reslab convert needs FILE|NET: Weights:"),
    ("data pack photos", "reslab data pack needs --out PATH: Folder for the shards."),
    # Commands
    ("trian", "there is no command 'trian'; did you mean train?"),
    ("data lst", "there is no command `reslab data lst`; did you mean list?"),
    ("export tensorflow", "there is no command `reslab export tensorflow`; there are onnx, openvino, torch-export."),
]


@pytest.mark.parametrize(("line", "message"), WRONG, ids=[line for line, _ in WRONG])
def test_what_cannot_be_read_gets_one_sentence(line, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(line.split()) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert captured.err.startswith("reslab: ")
    assert message in captured.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("line", "flag"),
    [
        ("train resnet20 --data", "--data"),
        ("train resnet20 --run-dir", "--run-dir"),
        ("train resnet20 --recipe", "--recipe"),
        ("train resnet20 --device", "--device"),
        ("train resnet20 --iterations", "--iterations"),
        ("eval a --weights", "--weights"),
        ("eval a --data-dir", "--data-dir"),
        ("export onnx a --out", "--out"),
        ("bench inference a --engines onnxruntime", "--engines"),
        ("predict a", "IMAGES"),
        ("eval", "NET"),
        ("summary", "MODEL"),
        ("runs", "FOLDER"),
    ],
)
def test_an_empty_value_is_an_unset_variable(line, flag, capsys, tmp_path, monkeypatch):
    """`--run-dir "$RUN"` shall not train into the present folder, nor `--data "$DATA"` on something else."""
    monkeypatch.chdir(tmp_path)
    for empty in ("", " "):
        assert main([*line.split(), empty]) == 2
        captured = capsys.readouterr()
        assert (captured.out, captured.err.count("\n")) == ("", 1)
        assert captured.err.startswith(f"reslab: {flag} is empty, as an unset variable is; leave it out, or give ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("field", ["--data.batch-size", "--optimizer.kind", "--schedule.length", "--net"])
def test_so_is_one_of_a_recipes_field(field, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    field = "--num-classes" if field == "--net" else field
    assert main(["train", "resnet20", field, ""]) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert field in captured.err
    assert list(tmp_path.iterdir()) == []


def test_a_flag_is_not_abbreviated():
    """`--iter` would become ambiguous, or mean something else, with a flag that comes later."""
    with pytest.raises(UsageError, match="has no --iter; did you mean"):
        read("train resnet20 --iter 5")


def test_synonyms_lead_to_flags_that_there_are():
    flags = {item.name.replace("_", "-") for command in ALL.values() for item in knobs(command.form)}
    assert set(SYNONYMS.values()) <= flags
    fields = {leaf.path for group in gathered(ALL["train"].form) for leaf in group.metadata["leaves"]()}
    assert {meant_field(name) for name in ("lr", "wd", "epochs", "ema", "schedule.decay", "data.pad")} <= fields


# Help


def both_helps() -> list[tuple[str, bool]]:
    return [(name, everything) for name in ALL for everything in (False, True)]


@pytest.mark.parametrize(("name", "everything"), both_helps(), ids=lambda value: str(value))
def test_help_has_examples_and_no_default_that_is_none(name, everything, capsys):
    assert main([*name.split(), "--help-all" if everything else "--help"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    text = captured.out
    assert text.startswith(f"usage: reslab {name} ")
    assert re.search(rf"^  reslab {name}( |$)", text, flags=re.MULTILINE), "an example"
    for word in ("None", "MISSING", "<class", "Default: .", "Default: ()", "dataclasses"):
        assert word not in text
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize("name", ALL)
def test_every_option_says_what_it_is_from_its_first_word(name):
    """In a list of options `Of the file.` is about nothing."""
    items = [(item.name, item.help) for item in knobs(ALL[name].form) if "leaves" not in item.extra]
    for group in gathered(ALL[name].form):
        items += [(leaf.path, leaf.knob.help) for leaf in group.metadata["leaves"]()]
    for path, text in items:
        first = text.split()[0] if text else ""
        assert first[:1].isupper() or first == "torchvision's", (path, text)
        assert first not in ("Of", "By", "Whose", "Which", "From", "Over", "With", "And", "Or"), (path, text)
        assert text.rstrip().endswith((".", ")")), (path, text)


@pytest.mark.parametrize("name", ALL)
def test_help_all_lists_every_field_and_help_says_what_it_leaves_out(name):
    command = ALL[name]
    short, whole = (
        help_text(command.form, command.summary, command.description, name, everything=everything)
        for everything in (False, True)
    )
    for item in knobs(command.form):
        if not item.extra.get("positional") and "leaves" not in item.extra:
            called = flag_name(item.name).removeprefix("--")
            assert re.search(rf"^  --(no-)?{called}\b", whole, flags=re.MULTILINE)
            assert called in short
    for group in gathered(command.form):
        assert group.metadata["title"].split(",")[0][:30] in short.replace("\n", " ")
        for leaf in group.metadata["leaves"]():
            assert re.search(rf"^  --{re.escape(leaf.path.replace('_', '-'))}\b", whole, flags=re.MULTILINE)


def test_a_default_that_is_one_is_said_and_a_recipes_fields_have_none_of_their_own():
    """1 equals True in Python; and a recipe's learning rate is not the field's default, but the recipe's."""
    summary, train = ALL["summary"], ALL["train"]
    assert "Default: 1." in help_text(summary.form, summary.summary, summary.description, "summary")
    whole = help_text(train.form, train.summary, train.description, "train", everything=True)
    assert "Default: 0.1" not in whole


def test_several_commands_are_listed_with_what_they_do(capsys):
    for name in ("data", "export", "bench", "paper"):
        texts = []
        for arguments in ([name], [name, "--help"]):
            assert main(arguments) == 0
            texts.append(capsys.readouterr().out)
        assert texts[0] == texts[1]
        below = [full.partition(" ")[2] for full in ALL if full.startswith(f"{name} ")]
        assert all(re.search(rf"^  {word} +\S", texts[0], flags=re.MULTILINE) for word in below)


# What is imported


def imported_by(*lines: list[str], of: tuple[str, ...]) -> str:
    code = (
        "import sys, io, contextlib; from reslab.cli.main import main\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        f"    codes = [main(line) for line in {list(lines)!r}]\n"
        f"print(codes, [name for name in {of!r} if name in sys.modules])"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True).stdout


def test_the_list_of_commands_imports_next_to_nothing():
    assert imported_by(["--help"], [], of=("rich", "numpy", "torch", "PIL")) == "[0, 0] []\n"


def test_help_of_a_command_imports_no_torch():
    lines = [[*name.split(), "--help"] for name in ALL] + [["train", "--help-all"], ["eval", "--help-all"]]
    found = imported_by(*lines, of=("torch", "torchvision", "sklearn", "scipy", "matplotlib", "onnx", "openvino"))
    assert found == f"{[0] * len(lines)} []\n"


# Completion


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_a_shells_script_is_one(shell, capsys, tmp_path):
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for word in ("train", "precise-bn", "torch-export", *(() if shell == "tcsh" else ("--optimizer.learning-rate",))):
        assert word in script
    if shutil.which(shell) is None:
        if shell == "bash":
            pytest.fail("bash is missing")
        return
    (tmp_path / "script").write_text(script)
    done = subprocess.run([shell, "-n", str(tmp_path / "script")], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_bash_completes_commands_and_flags(capsys, tmp_path):
    assert main(["completion", "bash"]) == 0
    (tmp_path / "script").write_text(capsys.readouterr().out)

    def offered(*words: str) -> set[str]:
        code = (
            f"source {tmp_path / 'script'}; COMP_WORDS=({' '.join(words)} ''); COMP_CWORD={len(words)}; "
            f"COMP_WORDS[{len(words) - 1}]='{words[-1]}'; unset 'COMP_WORDS[{len(words)}]'; "
            f"COMP_CWORD={len(words) - 1}; _shtab_reslab; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        )
        done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return set(done.stdout.split())

    assert offered("reslab", "pre") == {"predict", "precise-bn"}
    assert "--protocol" in offered("reslab", "eval", "--pro")
    assert "--opset" in offered("reslab", "export", "onnx", "--op")
