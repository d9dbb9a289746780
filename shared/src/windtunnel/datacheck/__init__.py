"""What can be wrong with samples, labels and preprocessing, and how sure an accuracy is.

`findings` has the type of what is noticed, `chance` the statistics of an accuracy, `labels` how labels fit a model's
outputs, `ranges` which values a model expects, `trials` the pipelines that may fit better, `check` all of it together.
"""
