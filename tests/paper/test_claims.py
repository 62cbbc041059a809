import json
import subprocess
import sys

import pytest

from reslab.errors import ReslabError
from reslab.paper.claims import Bound, Claim, Equal, Less, Ratio, Trend

SAID = {"text": "It is so.", "source": "Table 6", "value": "test_error"}
CLAIMS = (
    (Less(**SAID, lower="resnet56", higher="plain56", margin=-2.0), ("resnet56", "plain56")),
    (Equal(**SAID, first="a", second="b", margin=0.5), ("a", "b")),
    (Trend(**SAID, arms=("resnet20", "resnet32", "resnet44"), rising=False), ("resnet20", "resnet32", "resnet44")),
    (Ratio(**SAID, over="a", under="b", least=1.5), ("a", "b")),
    (Bound(**SAID, arm="resnet1202", most=0.1), ("resnet1202",)),
)


@pytest.mark.parametrize(("claim", "arms"), CLAIMS)
def test_a_claim_names_its_arms_and_is_read_back_from_json(claim, arms):
    assert claim.arms == arms
    assert Claim.from_dict(json.loads(json.dumps(claim.to_dict()))) == claim


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Claim(**SAID), "make a Less"),
        (lambda: Less(**{**SAID, "text": " "}, lower="a", higher="b"), "text must not be empty"),
        (lambda: Less(**SAID, lower="a", higher="a"), "compares an arm with itself"),
        (lambda: Less(**SAID, lower="a", higher=""), "must name its arms"),
        (lambda: Less(**SAID, lower="a", higher="b", margin=float("nan")), "margin must be a number, not nan"),
        (lambda: Less(**SAID, lower="a", higher=3), "higher must be a text, not 3"),
        (lambda: Equal(**SAID, first="a", second="b", margin=-1), "margin must be a number of at least 0"),
        (lambda: Trend(**SAID, arms=("a",), rising=True), "two arms or more, not 1"),
        (lambda: Trend(**SAID, arms=("a", "b", "a"), rising=True), "compares an arm with itself"),
        (lambda: Ratio(**SAID, over="a", under="b"), "give least, most or both"),
        (lambda: Bound(**SAID, arm="a", least=2, most=1), "its least, 2, is above its most, 1"),
        (lambda: Claim.from_dict({**SAID, "kind": "les"}), "did you mean less?"),
        (lambda: Claim.from_dict({**SAID, "kind": "bound", "arms": ["a"]}), "kind = trend"),
        (lambda: Claim.from_dict({**SAID, "kind": "bound", "most": 1}), "a claim lacks arm"),
    ],
)
def test_a_claim_that_makes_no_sense_gets_a_sentence(make, said):
    with pytest.raises(ReslabError, match=said):
        make()


def test_claims_quoted_numbers_and_verdicts_import_no_torch():
    light = "import sys, reslab.paper.claims, reslab.paper.reference; print('numpy' in sys.modules)"
    code = f"{light}; import reslab.paper.judging; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
