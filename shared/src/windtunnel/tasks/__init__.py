"""Tasks: what a model is for, and the metrics that say how well it does it.

`registry.TASKS` has every task with its metrics; `metrics` has their formulas; `scorers` read the outputs of a model;
`task_sums.TaskSums` takes outputs sample by sample.
"""
