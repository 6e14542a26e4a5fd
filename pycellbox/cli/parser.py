"""The options of every command, and their help."""

from __future__ import annotations

import argparse
from pathlib import Path

from pycellbox import __version__
from pycellbox.cli import texts
from pycellbox.cli.words import Parser


def build_parser() -> argparse.ArgumentParser:
    """Make the parser of the whole command line; its results have the name in ``command``."""
    parser = Parser(prog="pycellbox", description=texts.ABOUT, formatter_class=_raw)
    parser.add_argument("--version", action="version", version=f"pycellbox {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command", title="commands")

    def command(name: str, short: str, about: str, epilog: str = "") -> Parser:
        return commands.add_parser(
            name, help=short, description=about, epilog=epilog, formatter_class=_raw
        )

    _demo(command("demo", "see what pycellbox does, without any data", texts.DEMO))
    _fit(
        command(
            "fit", "fit a network to data", texts.FIT, f"{texts.TABLES}\n\n{texts.FIT_EXAMPLES}"
        )
    )
    _ensemble(
        command("ensemble", "fit again on data drawn again", texts.ENSEMBLE, texts.ENSEMBLE_EXAMPLE)
    )
    predict = command("predict", "predict new perturbations", texts.PREDICT, texts.PREDICT_EXAMPLE)
    _predict(predict)
    _evaluate(
        command("evaluate", "compare a fit with new data", texts.EVALUATE, texts.EVALUATE_EXAMPLE)
    )
    _support(
        command(
            "support", "which parts of a fit its data support", texts.SUPPORT, texts.SUPPORT_EXAMPLE
        )
    )
    _run(
        command(
            "run", "run a configuration of CellBox or CellBox.jl", texts.RUN, texts.RUN_EXAMPLES
        )
    )
    _julia(command("julia", "install Julia, for faster fits", texts.JULIA))
    return parser


def _raw(prog: str) -> argparse.HelpFormatter:
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=28, width=96)


def _demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", type=Path, default=Path("pycellbox-demo"), metavar="DIR",
        help="folder for the results (default: pycellbox-demo)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default: 0)")
    _backend(parser)
    parser.add_argument("--quiet", action="store_true", help="print the tables only")


def _fit(parser: Parser) -> None:
    _data(parser)
    _conditions(parser)
    _model(parser)
    training = _training(parser)
    training.add_argument(
        "--jobs", type=int, metavar="N",
        help="so many processes train the starts; -1, one on every core (default: 1)",
    )  # fmt: skip
    training.add_argument(
        "--store", type=Path, metavar="DIR",
        help="folder to which each start is written once it is trained: the same command goes on "
        "where it was stopped",
    )  # fmt: skip
    out = parser.add_argument_group("results")
    out.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FIT.nc",
        help="file for the fitted network; a fit cut short takes no finished one's place",
    )
    out.add_argument(
        "--csv", type=Path, metavar="DIR",
        help="also write W.csv and rates.csv (of --equations parameters.csv), history.csv, "
        "predictions.csv and conditions.csv there",
    )  # fmt: skip
    long = parser.add_argument_group("long fits")
    long.add_argument(
        "--checkpoint", type=Path, metavar="RUN.nc",
        help="file that keeps the fit on its way, from which --resume goes on",
    )  # fmt: skip
    long.add_argument(
        "--checkpoint-seconds", type=float, metavar="S",
        help="least time between two writings of it (default: 60)",
    )  # fmt: skip
    long.add_argument(
        "--resume", type=Path, metavar="RUN.nc",
        help="go on with the fit in this checkpoint, to the same result as if it had never been "
        "interrupted; with it go --out, --csv and --checkpoint-seconds alone",
    )  # fmt: skip
    parser.instead = {
        "resume": frozenset({"out", "csv", "no_baselines", "checkpoint_seconds", "resume"})
    }


def _conditions(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_argument_group("nodes")
    kinds.add_argument(
        "--node-kind", metavar="FILE|COUNTS",
        help="which nodes are proteins, phenotypes and drugs: a table with the columns node and "
        "kind, or their numbers in the order of the columns, as protein=82,phenotype=5,drug=12 "
        "(default: all are proteins)",
    )  # fmt: skip
    kinds.add_argument(
        "--time-units",
        metavar="UNIT",
        help="unit of time of a time course (default: that of its heading, else h)",
    )
    held = parser.add_argument_group("held-out conditions")
    held.add_argument(
        "--test", metavar="WHICH",
        help='conditions to hold out: a share such as 0.3, drawn at random ("random" is 0.3); '
        '"combinations", all with two or more perturbed nodes; "drug:NAME", all combinations with '
        "that drug; or a file that lists conditions, one a line, or with the columns condition "
        "and role (train, validation, test)",
    )  # fmt: skip
    held.add_argument(
        "--validation", type=float, metavar="SHARE",
        help="share of the other conditions that is not fitted but picks the best iteration "
        "(default: none)",
    )  # fmt: skip
    held.add_argument(
        "--seed", type=int, default=0,
        help="of everything random: the same seed gives the same result (default: 0)",
    )  # fmt: skip
    held.add_argument(
        "--no-baselines", action="store_true", help="leave the baselines out of the table"
    )


def _ensemble(parser: Parser) -> None:
    _data(parser)
    whole = parser.add_argument_group("a fit instead of data")
    whole.add_argument(
        "--fit", type=Path, metavar="FIT.nc",
        help="file written by pycellbox fit, which is not made again; with it go --members, "
        "--resample, --seed, --jobs, --store, --out and --backend alone",
    )  # fmt: skip
    parser.instead = {
        "fit": frozenset({"fit", "members", "resample", "seed", "jobs", "store", "out", "backend"})
    }
    members = parser.add_argument_group("members")
    members.add_argument(
        "--members", type=int, default=50, metavar="N", help="how many (default: 50)"
    )
    members.add_argument(
        "--resample", default="conditions", metavar="WHAT",
        help="what is drawn again: conditions, replicates together; residuals; or none, so that "
        "members differ by their seeds alone (default: conditions)",
    )  # fmt: skip
    members.add_argument(
        "--jobs", type=int, metavar="N",
        help="so many processes fit the members; -1, one on every core (default: 1)",
    )  # fmt: skip
    members.add_argument(
        "--store", type=Path, metavar="DIR",
        help="folder to which each member is written once it is fitted: the same command goes on "
        "where it was stopped",
    )  # fmt: skip
    _conditions(parser)
    _model(parser)
    _training(parser)
    out = parser.add_argument_group("results")
    out.add_argument(
        "--out", type=Path, required=True, metavar="MEMBERS.nc",
        help="file for the fit and its members, which predict and evaluate take",
    )  # fmt: skip


def _model(parser: argparse.ArgumentParser) -> None:
    model = parser.add_argument_group("model")
    model.add_argument(
        "--equations", type=Path, metavar="MODEL.toml",
        help="equations of your own in place of the network: [equations] with an expression for "
        "each state, [parameters], [observe], [initial], [inputs]",
    )  # fmt: skip
    model.add_argument(
        "--envelope", default=None,
        help="the saturating function φ: tanh, polynomial, hill, linear, clip or sigmoid "
        "(default: tanh)",
    )  # fmt: skip
    model.add_argument(
        "--form", default=None,
        help="where the perturbation u enters: 0 inside φ, 1 outside, 2 outside with a strength of "
        "its own; ji and ji-code are the variants of the Julia port (default: 0)",
    )  # fmt: skip
    model.add_argument(
        "--degree", type=int, default=None, help="2 adds rowsum(W)∘x to Wx (default: 1)"
    )
    model.add_argument("--order", type=int, help="exponent of the polynomial and hill envelopes")
    model.add_argument(
        "--drugs", default=None,
        help="input: drug nodes obey the equation; clamped: they are held at their dose "
        "(default: input)",
    )  # fmt: skip
    for name, short in (
        ("operating-point", "give each node a resting input of its own, on whose part of φ it is"),
        ("common-effect", "add an input that all treated conditions have in common"),
        ("drugs-on-phenotypes", "let drugs act on phenotypes directly"),
    ):
        model.add_argument(f"--{name}", action="store_true", default=None, help=short)


def _training(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    training = parser.add_argument_group("training")
    training.add_argument(
        "--purpose", default=None,
        help="what the fit is for: prediction (the default), for which nodes of drug screens are "
        "estimated, unless a loss, penalty, iterations, learning rate or starts ask for training",
    )  # fmt: skip
    training.add_argument(
        "--loss", help="mse, mae or huber (default: mse; where nodes are estimated, robust)"
    )
    training.add_argument("--iterations", type=int, help="length of the fit (default: by the data)")
    training.add_argument(
        "--learning-rate",
        type=float,
        metavar="RATE",
        help="one for everything (default: by the data)",
    )
    training.add_argument(
        "--starts", type=int, metavar="N",
        help="train from N starts and take the best (default: 1)",
    )  # fmt: skip
    for norm, power in (("l1", "|W|"), ("l2", "W²")):
        training.add_argument(
            f"--{norm}", type=float, metavar="S",
            help=f"penalty, S times the sum of {power} beside the mean loss (default: by the data)",
        )  # fmt: skip
    training.add_argument(
        "--solver", metavar="NAME",
        help="euler, midpoint, heun, rk4, tsit5, steadystate, or for stiff equations kencarp4 "
        "or kvaerno5 (default: by the data; heun where --dt is given)",
    )  # fmt: skip
    training.add_argument(
        "--dt", type=float,
        help="longest step of euler, midpoint, heun or rk4, in units of time (default: a "
        "hundredth of the time to be integrated)",
    )  # fmt: skip
    training.add_argument(
        "--horizon", type=float,
        help="time at which the steady state is read (default: ten decay times of the beginning, "
        "which are 10 without phases)",
    )  # fmt: skip
    _backend(training)
    return training


def _predict(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("fit", type=Path, metavar="FIT.nc", help="file written by pycellbox fit")
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument(
        "--perturbation", type=Path, metavar="FILE",
        help="table of perturbations (condition, node), dimensionless",
    )  # fmt: skip
    given.add_argument(
        "--data", type=Path, metavar="FILE.nc",
        help="dataset whose conditions are predicted, with their phases, held nodes and initial "
        "states; its responses are not looked at",
    )  # fmt: skip
    _nodes(parser)
    parser.add_argument(
        "--out", required=True, type=Path, metavar="FILE",
        help="table of predicted responses; .csv, .tsv or .nc",
    )  # fmt: skip
    parser.add_argument(
        "--times", metavar="T,T,…",
        help="times at which the response is wanted, as 0.5,1,2 (default: those of the fit)",
    )  # fmt: skip
    parser.add_argument(
        "--interval", type=float, metavar="SHARE",
        help="intervals that are to hold this share of new measurements, such as 0.9: a table then "
        "has a row for each response, with the columns response, lower, upper, sd and sd_state; a "
        ".nc has variables of these names",
    )  # fmt: skip
    _backend(parser, "that of the fit")


def _evaluate(parser: Parser) -> None:
    parser.add_argument("fit", type=Path, metavar="FIT.nc", help="file written by pycellbox fit")
    _data(parser)
    parser.add_argument(
        "--new-only", action="store_true",
        help="leave out conditions that were used in the fit, and replicates of them",
    )  # fmt: skip
    parser.add_argument("--no-baselines", action="store_true", help="leave the baselines out")
    parser.add_argument(
        "--csv", type=Path, metavar="DIR",
        help="also write scores.csv, by_node.csv, by_condition.csv and predictions.csv there",
    )  # fmt: skip


def _support(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("fit", type=Path, metavar="FIT.nc", help="file written by pycellbox fit")
    parser.add_argument(
        "--folds", type=int, metavar="N",
        help="how many parts the conditions are left out in (default: 5, by drug one for each)",
    )  # fmt: skip
    parser.add_argument(
        "--by", metavar="WHAT",
        help="what is left out together: replicate, condition, drug, or a coordinate of the "
        "conditions such as subject (default: replicate)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, help="of the parts (default: 0)")
    _backend(parser, "that of the fit")


def _run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "config", type=Path, metavar="CONFIG",
        help="a .json of CellBox; a .yaml of CellBox.jl, its runtime.yaml, or its folder",
    )  # fmt: skip
    parser.add_argument(
        "-i", "--working_index", type=int, default=0, metavar="N",
        help="number of the run, which makes its seed (default: 0)",
    )  # fmt: skip
    parser.add_argument(
        "-drug", "--drug_index", type=int, metavar="K",
        help="drug to leave out, counted from 1, for the experiments that leave one out",
    )  # fmt: skip
    parser.add_argument(
        "--is-restart", action="store_true", help="go on from the earlier result (CellBox.jl)"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR",
        help="folder for the results (default: results/EXPERIMENT_SETTINGS/seed_N)",
    )  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace a finished run there")
    parser.add_argument("--no-baselines", action="store_true", help="leave the baselines out")
    _backend(parser)


def _julia(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="action", required=True, title="actions")
    for name, short, about in (
        ("install", "download and prepare what is missing", texts.JULIA_INSTALL),
        ("status", "say what is ready and what is missing", texts.JULIA_STATUS),
        ("remove", "delete what was installed", texts.JULIA_REMOVE),
    ):
        action = actions.add_parser(name, help=short, description=about, formatter_class=_raw)
        if name == "remove":
            action.add_argument("--yes", action="store_true", help="do not ask before deleting")


def _data(parser: Parser) -> None:
    parser.wants_data = True
    data = parser.add_argument_group("data: two tables, one file, or what comes along")
    data.add_argument(
        "--perturbation", type=Path, metavar="FILE",
        help="what was applied (condition, node), dimensionless",
    )  # fmt: skip
    data.add_argument(
        "--response", type=Path, metavar="FILE",
        help="what was measured (condition, node), log-ratio to the untreated control",
    )  # fmt: skip
    data.add_argument(
        "--sigma", type=Path, metavar="FILE",
        help="standard deviation of each response; weights the fit",
    )  # fmt: skip
    data.add_argument(
        "--held", type=Path, metavar="FILE",
        help="levels at which nodes are held, as knock-outs are (condition, node); empty: free",
    )  # fmt: skip
    data.add_argument(
        "--held-fitted", action="store_true", help="fit these levels, from the given ones on"
    )
    data.add_argument(
        "--initial-state", type=Path, metavar="FILE",
        help="states where conditions start (condition, node); empty: the model's own",
    )  # fmt: skip
    data.add_argument(
        "--initial-fitted", action="store_true", help="fit these states, from the given ones on"
    )
    _nodes(data)
    data.add_argument(
        "--courses", type=Path, metavar="FILE",
        help="time courses alone, instead of the tables: a column of times, one for each species, "
        "and where there are several courses one that names them",
    )  # fmt: skip
    data.add_argument(
        "--transform", metavar="HOW",
        help="take logarithms of --courses or a --dataset: log, or log-center, which subtracts "
        "their mean",
    )  # fmt: skip
    data.add_argument(
        "--data", type=Path, metavar="FILE.nc",
        help="a dataset saved by pycellbox, instead of the tables",
    )  # fmt: skip
    data.add_argument(
        "--dataset", metavar="NAME",
        help="public data that come with pycellbox: melanoma (Korkut et al. 2015; 89 conditions, "
        "99 nodes), or lynx_hare (pelts of 91 years)",
    )  # fmt: skip


def _nodes(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--nodes", type=Path, metavar="FILE",
        help="names of the nodes, one a line, for tables of bare numbers",
    )  # fmt: skip


def _backend(parser: argparse._ActionsContainer, default: str = "auto, the best there") -> None:
    parser.add_argument(
        "--backend", default="auto", help=f"what does the computing (default: {default})"
    )
