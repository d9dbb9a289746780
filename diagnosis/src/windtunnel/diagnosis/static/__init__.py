"""What differs between two files, read from the files: constants, ops, quantization parameters.

Both models run on the same kernels, so whatever differs in what they compute is in the files. Each difference is
compared with what the candidate's precision explains; what is left is a suspect, which the rules put to the test.
"""

from __future__ import annotations
