"""What an app recorded: one type for edge.npz and the monitor's log.

for recording in read_recordings(Path("edge-log/")):      # one for each session
    recording.inputs, recording.statistics, recording.gaps
"""

from __future__ import annotations

from windtunnel.diagnosis.recording.edge_recording import ONLY, EdgeDevice, EdgeRecording, EdgeTimes
from windtunnel.diagnosis.recording.read_recordings import read_recording, read_recordings

__all__ = ["ONLY", "EdgeDevice", "EdgeRecording", "EdgeTimes", "read_recording", "read_recordings"]
