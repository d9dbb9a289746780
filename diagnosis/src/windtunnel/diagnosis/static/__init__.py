"""What differs between two files, read from the files: constants, ops, quantisation parameters.

Both models run on the same kernels, so whatever differs in what they compute is in the files. Each difference is held
against what the candidate's precision explains; what is left is a suspect, which `diagnose` puts to the test.
"""

from __future__ import annotations
