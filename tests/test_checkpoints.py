import pytest
import torch

from reslab.checkpoints import load_checkpoint, newest_checkpoint, save_checkpoint
from reslab.errors import CheckpointError


def test_the_newest_is_known_by_its_number_not_by_its_name_or_time(tmp_path):
    for iteration in (90, 10_000_000, 100):
        save_checkpoint(tmp_path, {"iteration": iteration}, keep=5)
    assert newest_checkpoint(tmp_path).name == "iteration-10000000.pt"
    assert load_checkpoint(newest_checkpoint(tmp_path)) == {"iteration": 10_000_000}


def test_only_the_newest_are_kept_and_others_files_left_alone(tmp_path):
    (tmp_path / "best-on-val.pt").write_bytes(b"")
    for iteration in range(5):
        save_checkpoint(tmp_path, {"iteration": iteration}, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "best-on-val.pt",
        "iteration-0000003.pt",
        "iteration-0000004.pt",
    ]


def test_an_empty_folder_has_none(tmp_path):
    assert newest_checkpoint(tmp_path) is None


@pytest.mark.parametrize("content", [b"", b"torn", "truncated", "other"])
def test_a_damaged_checkpoint_gets_a_sentence(tmp_path, content):
    path = save_checkpoint(tmp_path, {"iteration": 3, "x": torch.ones(100)}, keep=1)
    if content == "other":
        torch.save([1], path)
    else:
        path.write_bytes(path.read_bytes()[:300] if content == "truncated" else content)
    with pytest.raises(CheckpointError, match=r"iteration-0000003\.pt"):
        load_checkpoint(path)
