"""What ``--help`` says about the program and its commands."""

from __future__ import annotations

ABOUT = """\
Infer how the nodes of a cell system act on each other from perturbation experiments, and
predict the response to perturbations that were never made.

The model is a network of differential equations, dx/dt = ε∘φ(Wx + u) − α∘x: u is what was
applied (drug doses), x the response as log-ratio to the untreated control, and W[target, source]
the strength with which a node acts on another."""

TABLES = """\
tables (CSV; tab-separated if the name ends in .tsv)
  A table has a line for each condition and a column for each node. The first line names the
  nodes, the first column the conditions:

      condition,MEK,ERK,aMEK          condition,MEK,ERK,aMEK
      control,0,0,0                   control,0.02,-0.01,0
      low,0,0,-0.5                    low,-0.31,-0.22,-0.5

      perturbation: what was applied, 0 where     response: log-ratio to the control,
      nothing was; an inhibitor is negative       empty or NaN where not measured

  For time courses the second column of the response is named "time". Tables of bare numbers,
  without names, need --nodes."""

FIT = """\
Fit a network to measured responses and save it to one file.

With --test some conditions are held out: the network is fitted to the others, and the table
that is printed says how well it predicts the held-out ones, beside simple baselines.

Nodes of a drug screen are estimated in closed steps, together with the strengths of their
penalties; all else is trained by gradient descent, and so is a screen where --iterations,
--learning-rate, --l1, --l2, --loss or a --solver that integrates asks for it.

With --checkpoint a file keeps the fit on its way; --resume goes on from there with the same data
and options, and the result is the same as if it had never been interrupted."""

FIT_EXAMPLES = """\
examples
  pycellbox fit --perturbation pert.csv --response expr.csv --node-kind kinds.csv --out fit.nc

  The melanoma data of Korkut et al. (2015), which come along: 82 proteins, 5 phenotypes, 12
  drugs; three tenths of the conditions are held out:
  pycellbox fit --dataset melanoma --test 0.3 --seed 1000 --out melanoma.nc

  The same from its bare tables:
  pycellbox fit --perturbation pert.csv --response expr.csv --nodes node_Index.csv \\
      --node-kind protein=82,phenotype=5,drug=12 --test 0.3 --seed 1000 --out melanoma.nc

  Time courses of one plain table and equations of your own; model.toml holds, say,

      [equations]
      S = "-beta*S*I/N"
      I = "beta*S*I/N - gamma*I"

      [parameters]
      N = { start = 763, fixed = true }
      beta = { start = 1, scale = "log" }
      gamma = { start = 1, positive = true }

      [initial]
      S = "N - 1"
      I = 1

  pycellbox fit --courses cases.csv --equations model.toml --out sir.nc

  A long fit that outlives crashes, kills and interrupts, and how to go on with it:
  pycellbox fit --dataset melanoma --iterations 5000 --checkpoint run.nc --out melanoma.nc
  pycellbox fit --resume run.nc --out melanoma.nc
"""

ENSEMBLE = """\
Fit a network, and fit it again on data drawn again, many times: how far its members differ, with
the noise of the measurements, says how far predictions may be off.

pycellbox predict gives their mean with intervals; pycellbox evaluate judges it."""

ENSEMBLE_EXAMPLE = """\
examples
  pycellbox ensemble --dataset melanoma --test 0.3 --seed 1000 --members 100 --jobs -1 \\
      --store members --out members.nc
  pycellbox ensemble --fit melanoma.nc --members 100 --jobs -1 --out members.nc
  pycellbox predict members.nc --perturbation new.csv --interval 0.9 --out intervals.csv
"""

PREDICT = """\
Predict the response to perturbations with a fitted network.

The table of perturbations needs only the columns of nodes that are perturbed; all others count
as 0; a dataset (--data) brings phases, held nodes and initial states along. The predicted response
is a log-ratio to the untreated control, as the data was."""

PREDICT_EXAMPLE = """\
example
  new.csv:   condition,aMEK,aAKT
             both low,-0.5,-0.5
  pycellbox predict melanoma.nc --perturbation new.csv --out predictions.csv
  pycellbox predict melanoma.nc --perturbation new.csv --interval 0.9 --out intervals.csv
  pycellbox predict courses.nc --data regimens.nc --out predictions.nc
"""

EVALUATE = """\
Compare the predictions of a fitted network with measured responses, beside simple baselines
that saw the same data as the fit.

Pearson is the correlation of predicted and measured responses (1 is perfect), MSE their mean
squared difference in squared log-ratios (0 is perfect); "w/o drugs" leaves the drug nodes out,
whose activity follows from the dose. Above the table stands how many rows the fit has seen."""

EVALUATE_EXAMPLE = """\
example
  pycellbox evaluate melanoma.nc --perturbation new_pert.csv --response new_expr.csv
"""

SUPPORT = """\
Say which parts of a fit its data support: interactions of each kind, operating points, the effect
common to all treatments. Conditions of the fit are left out in folds, and predicted by networks
fitted with and without each part. The result is kept in the file; without options, what is there
is shown."""

SUPPORT_EXAMPLE = """\
example
  pycellbox support melanoma.nc --by drug
"""

DEMO = """\
See what pycellbox does, without any data: simulate experiments on a network of ten nodes, fit a
network to some of them, predict the others, and compare with the truth and with simple
baselines. Takes a few seconds."""

RUN = """\
Run a configuration of CellBox (JSON) or CellBox.jl (YAML), as it is: it says where the data is,
how it is parted, which equation is fitted and in which stages. What it asks for is computed by
pycellbox; keys that have no effect here, and what is done in the nearest way instead of the same
way, are listed.

Paths in the configuration are looked for from its own folder and from the working directory.

results
  CellBox:     N_best.W, .alpha, .eps and .y_hat (prediction of the test conditions) of each
               sub-stage N, record_eval.csv, random_pos.csv (random partitions), config.json
  CellBox.jl:  params.csv (W), data.nc (the conditions, and the network they were simulated with)
  both:        fit.nc, read by pycellbox predict and evaluate; conditions.csv (train, test, …)

A finished run is never replaced unless you say --overwrite, and then only by a finished one: until
then the new results are in DIR.unfinished."""

RUN_EXAMPLES = """\
examples
  pycellbox run configs/Example.random_partition.json -i 3
  pycellbox run configs/Example.leave_one_drug_out.json -drug 2 --out results/without_drug_2
  pycellbox run Test_02/config.yaml
  pycellbox run Test_02/config.yaml --is-restart
"""

JULIA = """\
Fits run faster with Julia, a programming language for numerical work. pycellbox installs it by
itself and calls it for you; you need not know it. Without it pycellbox works as well, more
slowly and with fewer solvers."""

JULIA_INSTALL = """\
Install Julia and the packages that pycellbox needs, once. Says first what it is going to do.

A Julia that is already there and recent enough is used; otherwise one is downloaded. Needs the
internet and some patience. If it was interrupted, run it again: it goes on from there. From then
on fits take Julia by themselves (--backend numpy does without).

On a machine without internet: copy a prepared Julia there and name it in the environment
variables PYTHON_JULIACALL_EXE (the program julia) and PYTHON_JULIACALL_PROJECT (the folder with
Project.toml); JULIA_DEPOT_PATH is the folder with its packages."""

JULIA_STATUS = """\
Say whether Julia is ready, which versions are there, where, and how much disk they take.
Downloads and changes nothing. The exit code is 0 if Julia is ready and 1 if not."""

JULIA_REMOVE = """\
Delete the Julia that pycellbox installed in this Python environment. Packages that other Julia
projects may use as well stay, and you are told where they are."""
