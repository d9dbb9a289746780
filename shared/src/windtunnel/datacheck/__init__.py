"""What can be wrong with samples, labels and preprocessing, and how sure an accuracy is.

`findings` has the type of what is noticed. `chance` has the statistics of an accuracy. `labels` says how labels fit a
model's outputs, `ranges` which values a model expects, and `trials` tries pipelines that may fit better. `check` puts
them together.
"""
