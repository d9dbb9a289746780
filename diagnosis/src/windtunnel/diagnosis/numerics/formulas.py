"""The nRMSE of two tensors."""

from __future__ import annotations

from windtunnel.tflite.tensor_error import nrmse as nrmse
