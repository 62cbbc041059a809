"""Beyond the paper: does another solver find the identities that SGD does not?

    reslab paper run solver

"The degradation problem suggests that the solvers might have difficulties in approximating identity mappings by
multiple nonlinear layers" (Sec. 3.1). Plain nets of 20 and 56 layers under SGD at the recipe's rate and at a tenth of
it, Muon, and LAMB; and SGD from starts at which layers are identities already (Dirac), or the whole net is linear
(looks-linear).
"""

from reslab.paper.catalogue import Arm, Experiment
from reslab.paper.claims import Less
from reslab.paper.experiments.common import ERROR_COLUMNS, TRAINED

_RATE = "optimizer.learning_rate"
_LOWER = "SGD, a tenth of the rate"
_SOLVERS: dict[str, tuple[str, dict[str, str]]] = {
    "SGD": ("", {}),
    _LOWER: ("", {_RATE: "0.01"}),
    "Muon": ("", {"optimizer": "muon"}),
    "LAMB": ("", {"optimizer": "lamb", _RATE: "0.005", "optimizer.weight_decay": "0.0001"}),
    "identity start": ("[init=identity]", {}),
    "looks-linear start": ("[init=looks-linear]", {}),
}
_DIGITS = {_LOWER: {_RATE: "0.0025"}}
_ARMS = tuple(
    Arm(net=f"plain{depth}{fields}", name=f"plain{depth}, {solver}", fields=overrides, digits=_DIGITS.get(solver, {}))
    for solver, (fields, overrides) in _SOLVERS.items()
    for depth in (20, 56)
)

EXPERIMENT = Experiment(
    name="solver",
    title="Does another solver, or another start, find the identity?",
    source="beyond the paper; Sec. 3.1",
    group="beyond",
    arms=_ARMS,
    measures=TRAINED,
    columns=ERROR_COLUMNS,
    figures=("bars",),
    seeds=5,
    claims=(
        *(
            Less(
                text=f"Under {solver} the deeper plain net is still worse in training",
                source="Sec. 3.1",
                value="train_error",
                higher=f"plain56, {solver}",
                lower=f"plain20, {solver}",
            )
            for solver in _SOLVERS
        ),
        Less(
            text="Plain-56 trains better from a looks-linear start than from a random one",
            source="a question of our own; arXiv 1702.08591",
            value="train_error",
            higher="plain56, SGD",
            lower="plain56, looks-linear start",
        ),
        Less(
            text="... and better from identities",
            source="a question of our own",
            value="train_error",
            higher="plain56, SGD",
            lower="plain56, identity start",
        ),
    ),
)
