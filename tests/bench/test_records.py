"""Medians, ratios, the record's form, and its tables."""

import pytest

from reslab.bench.records import best, describe, find, make_record, ratios, read_benchmark, share
from reslab.bench.tables import make_table
from reslab.bench.turns import BenchmarkError, Outcome
from reslab.files.atomic import write_json

OURS = Outcome("reslab", (300.0, 200.0, 330.0), 12.345, {"threads": 2})
PEER = Outcome("eager-nchw", (200.0, 100.0, 300.0), 1.0)
SLOW = Outcome("compiled", (10.0, 10.0, 10.0))
ABSENT = Outcome("timm", absent="timm has no resnet20")


def test_ratios_are_those_of_the_turns_and_not_of_the_medians():
    assert ratios(OURS, PEER) == {"median": 1.5, "lowest": 1.1, "highest": 2.0, "turns": [1.5, 2.0, 1.1]}


def test_the_best_is_the_one_with_the_highest_median():
    assert best([SLOW, PEER, ABSENT]) is PEER
    assert best([ABSENT]) is None


def test_a_share_is_of_the_rate_in_the_same_turns():
    assert share(OURS, 2.0, Outcome("fp32", (1200.0, 1200.0, 600.0))) == 0.5


def test_an_outcome_is_plain_values_of_four_digits():
    assert describe(Outcome("fp32", (1.23456e11,), 0.5), "gflops", 1e-9) == {
        "name": "fp32",
        "gflops": 123.5,
        "turns": [123.5],
        "first_step_seconds": 0.5,
        "details": {},
    }
    assert describe(ABSENT) == {"name": "timm", "absent": "timm has no resnet20"}


def test_ours_must_have_run():
    with pytest.raises(BenchmarkError, match="timm cannot run: timm has no resnet20"):
        find([OURS, ABSENT], "timm")


def test_a_record_says_what_it_depends_on_and_is_read_back(tmp_path):
    record = make_record("rates", {"turns": 1}, [])
    assert record["environment"]["packages"]["torch"]
    assert record["environment"]["packages"]["timm"]
    write_json(tmp_path / "record.json", record)
    assert read_benchmark(tmp_path / "record.json") == record
    write_json(tmp_path / "old.json", {"benchmark": "rates"})
    for name, message in (("old", "schema version"), ("none", "there is no record")):
        with pytest.raises(BenchmarkError, match=message):
            read_benchmark(tmp_path / f"{name}.json")


def training_record():
    details = {"threads": 2, "measured": "multiply-adds in registers, AVX2, fp32"}
    fp32 = describe(Outcome("fma", (2e11, 2e11, 2e11), details=details), "gflops", 1e-9)
    row = {
        "model": "resnet20",
        "macs": 40_000_000,
        "contenders": [describe(outcome) for outcome in (OURS, PEER, ABSENT)],
        "ratios": {"eager-nchw": ratios(OURS, PEER)},
        "best_peer": "eager-nchw",
        "precision": "fp32",
        "winograd_macs": 10_000_000,
        "peaks": {"fp32": fp32, "bf16": {"name": "fma-bf16", "absent": "no instructions"}},
        "share_of_peak": 0.36,
        "share_of_fewest": 0.09,
    }
    return make_record("training", {"data": "digits", "batch_size": 128, "turns": 3, "steps": 5}, [row])


def test_a_table_has_every_contender_and_says_who_could_not_run():
    table = make_table(training_record())
    assert table.rows == (
        ("resnet20", "reslab", "300", "", "36%", "9%", "12.3 s"),
        ("resnet20", "eager-nchw", "200", "1.50 (1.10 to 2.00)", "", "", "1.0 s"),
        ("resnet20", "timm", "-", "cannot run: timm has no resnet20", "", "", ""),
    )
    assert len(table.headings) == 7
    assert "AVX2, fp32) 200 GFLOP/s" in table.note


def test_the_table_of_profiles_has_shares_and_the_least_that_convolutions_could_take():
    record = training_record()
    (row,) = record["rows"]
    bf16 = describe(Outcome("fma-bf16", (4e11, 4e11, 4e11)), "gflops", 1e-9)
    record |= {"benchmark": "profile", "rows": [row | {"precision": "bf16", "peaks": {**row["peaks"], "bf16": bf16}}]}
    parts = {"forward conv": {"milliseconds": 20.0, "gflops": 100.0}, "other": {"milliseconds": 30.0}}
    for found in row["contenders"][:2]:
        found["details"] = {"profile": {"steps": 5, "milliseconds": 50.0, "parts": parts}}
    table = make_table(record)
    assert table.headings[3:5] == ("forward conv", "other")
    assert table.rows == (
        ("resnet20", "reslab", "50", "40% at 100", "60%", "400", "77", "19"),
        ("resnet20", "eager-nchw", "50", "40% at 100", "60%", "200", "154", "38"),
        ("resnet20", "timm", "-", "cannot run: timm has no resnet20", "", "", "", ""),
    )


def test_the_table_of_int8_shows_both_engines_and_the_rise_of_the_worse_one():
    engines = {
        "openvino": {"test_error": 8.7, "calibration_images": 300},
        "onnxruntime": {"test_error": 9.1, "calibration_images": 300},
    }
    row = {"net": "resnet20", "float32_error": 8.9, "int8_error": 9.1, "num_images": 10_000, "engines": engines}
    table = make_table(make_record("int8-accuracy", {"data": "cifar10"}, [row]))
    assert table.rows == (("resnet20", "8.90", "8.70", "9.10", "+0.20"),)
    assert "10,000 test images of cifar10; calibrated on 300 train images" in table.note


def test_the_table_of_trainings_has_their_mean_and_spread():
    errors = {"train_error": [4.0, 4.0, 4.0], "train_error_clean": [3.5, 3.5, 3.5], "test_error": [5.0, 6.0, 7.0]}
    errors["test_error_shifted"] = [4.0, 5.0, 6.0]
    plain, growing = ({"initial_iterations": n, "initial_scale": scale} for n, scale in ((0, 1.0), (4_500, 0.7)))
    rows = [{"iterations": 7_800, "minutes": 14.71, "seed": [0, 1, 2], **plain, **errors}]
    single = {key: found[:1] for key, found in errors.items()}
    rows += [{"iterations": 9_000, "minutes": 16.9, "seed": [0], **growing, **single}]
    settings = {"model": "resnet20", "data": {"name": "digits"}, "recipe": {"name": "fast"}, "shifted": {"shift": 1}}
    table = make_table(make_record("time-to-accuracy", settings, rows))
    assert table.rows[0] == ("14.7", "7,800", "", "94.00 ± 1.00", "95.00 ± 1.00", "4.00 ± 0.00", "3.50 ± 0.00", "3")
    assert table.rows[1] == ("16.9", "9,000", "4,500 at 0.7", "95.00", "96.00", "4.00", "3.50", "1")
    assert (
        table.note
        == "resnet20 on digits, recipe fast; mean ± standard deviation; shifted: by up to 1 pixel in all directions."
    )
