"""What an app recorded: one type for edge.npz and the monitor's log.

recording = read_recording(Path("edge.npz"))
recording.inputs, recording.gaps
"""

from __future__ import annotations

from windtunnel.diagnosis.recording.edge_recording import ONLY, EdgeDevice, EdgeRecording, EdgeTimes
from windtunnel.diagnosis.recording.read_recordings import read_recording

__all__ = ["ONLY", "EdgeDevice", "EdgeRecording", "EdgeTimes", "read_recording"]
