"""The events of a made-up run: one plan, its variants and cells, and figures that a test may change."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from windtunnel.bus import Event, decode, encode, event_id, subjects
from windtunnel.plan import Plan, parse_plan_text, plan_to_json
from windtunnel.v1 import events_pb2, types_pb2

STARTED = datetime(2026, 11, 20, 12, 0, 3, tzinfo=UTC)
PLAN = """
apiVersion: windtunnel/v1
data: {samples: "sha256:%s"}
variants: [float32, int8]
devices:
  - {farm: local, accelerator: xnnpack, threads: 1}
  - {farm: adb, accelerator: gpu, threads: 4}
gates:
  accuracy_drop: 0.01
  latency_ms: {p50: 10, p95: 20}
  size_mb: 5
  memory_mb: 200
  layer_nrmse: 0.10
""" % ("5" * 64)


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def artifact(text: str, size_bytes: int | None = None) -> types_pb2.Artifact:
    """An artifact whose content is `text`, or claims to be."""
    return types_pb2.Artifact(sha256=sha256(text), size_bytes=len(text.encode()) if size_bytes is None else size_bytes)


def failure(message: str, code: str = "job_failed") -> types_pb2.Failure:
    return types_pb2.Failure(code=code, message=message, service="tests")


def finding(code: str, message: str = "something") -> types_pb2.Finding:
    return types_pb2.Finding(code=code, message=message, fix="do this", evidence_json='{"share": 0.5}')


class RunEvents:
    """Makes the events of one run, all well by default."""

    def __init__(self, run_id: str = "run-1", plan: str = PLAN, labels: Mapping[str, str] | None = None) -> None:
        self.run_id = run_id
        self.plan: Plan = parse_plan_text(plan)
        self.plan_json = plan_to_json(self.plan)
        started = Timestamp()
        started.FromDatetime(STARTED)
        self.context = types_pb2.RunContext(
            run_id=run_id,
            model_name="ssd",
            model_version="3",
            model_sha256=sha256("trained"),
            plan=types_pb2.Artifact(sha256=hashlib.sha256(self.plan_json).hexdigest(), size_bytes=len(self.plan_json)),
            labels=labels or {"team": "edge"},
            started_at=started,
        )

    @property
    def variants(self) -> list[str]:
        return [variant.name for variant in self.plan.variants]

    def cell(self, variant: str, farm: str = "local", skip_reason: str = "") -> types_pb2.Cell:
        phone = farm == "adb"
        return types_pb2.Cell(
            id=f"{self.run_id}.{variant}.{farm}",
            variant=variant,
            farm=farm,
            device="pixel-6" if phone else "host",
            platform="android" if phone else "host",
            os_version="14" if phone else "12",
            accelerator="gpu" if phone else "xnnpack",
            threads=4 if phone else 1,
            skip_reason=skip_reason,
        )

    @property
    def farms(self) -> list[str]:
        return [device.farm for device in self.plan.devices]

    def converted(
        self,
        *,
        top1: float | None = 0.98,
        passed: bool = True,
        message: str = "",
        findings: Sequence[types_pb2.Finding] = (),
        original: types_pb2.QualityFigures | None = None,
    ) -> Message:
        if original is None and top1 is not None:
            original = types_pb2.QualityFigures(top1=top1, samples=100)
        check = types_pb2.ConversionCheck(
            original=original, agreement=1.0, passed=passed, message=message, findings=findings
        )
        return events_pb2.ModelConverted(
            run=self.context,
            model=artifact("float", 4_000_000),
            trained=artifact("trained"),
            check=check,
            tool_versions={"tensorflow-cpu": "2.21.0"},
        )

    def model_failed(self, message: str = "the file is cut off", code: str = "invalid_input") -> Message:
        return events_pb2.ModelFailed(run=self.context, failure=failure(message, code))

    def ready(self, variant: str, *, size_bytes: int = 1_200_000) -> Message:
        made = types_pb2.Variant(
            name=variant,
            model=artifact(f"model {variant}", size_bytes),
            calibration_samples=20,
            calibration_from_samples=True,
            tool_versions={"litert-quantizer": "0.11.0"},
        )
        return events_pb2.VariantReady(run=self.context, variant=made, float_model=artifact("float", 4_000_000))

    def variant_failed(
        self, variant: str, message: str = "no recipe fits", *, compare: bool = False, code: str = "job_failed"
    ) -> Message:
        steps = events_pb2.VariantFailed
        step = steps.STEP_COMPARE if compare else steps.STEP_QUANTIZE
        return steps(run=self.context, variant=variant, step=step, failure=failure(message, code))

    def compared(
        self,
        variant: str,
        *,
        top1: float | None = 0.975,
        reference: float | None = 0.98,
        max_nrmse: float | None = 0.02,
        loss: float | None = 0.07,
        diagnosis: types_pb2.Artifact | None = None,
        first_over: str = "",
        non_finite: int = 0,
        findings: Sequence[types_pb2.Finding] = (),
        element_accuracy: float | None = None,
    ) -> Message:
        return events_pb2.VariantCompared(
            run=self.context,
            variant=variant,
            model=artifact(f"model {variant}", 1_200_000),
            reference=types_pb2.QualityFigures(top1=reference, samples=100),
            candidate=types_pb2.QualityFigures(top1=top1, loss=loss, samples=100, element_accuracy=element_accuracy),
            agreement=0.99,
            layers=types_pb2.LayerSummary(
                compared=64, total=65, max_nrmse=max_nrmse, first_over=first_over, non_finite=non_finite
            ),
            diagnosis=diagnosis,
            findings=findings,
        )

    def planned(self, variant: str, skipped: Mapping[str, str] | None = None) -> Message:
        cells = [self.cell(variant, farm, (skipped or {}).get(farm, "")) for farm in self.farms]
        return events_pb2.CellsPlanned(run=self.context, variant=variant, cells=cells)

    def cells_failed(self, variant: str, message: str = "no such farm") -> Message:
        return events_pb2.CellsFailed(run=self.context, variant=variant, failure=failure(message))

    def built(self, variant: str, platform: str) -> Message:
        return events_pb2.AppBuilt(
            run=self.context,
            variant=variant,
            platform=platform,
            package=artifact(f"app {variant} {platform}"),
            model_sha256=sha256(f"model {variant}"),
        )

    def app_failed(self, variant: str, platform: str, message: str = "the base app is missing") -> Message:
        return events_pb2.AppFailed(run=self.context, variant=variant, platform=platform, failure=failure(message))

    def finished(
        self,
        variant: str,
        farm: str = "local",
        *,
        attempt: int = 1,
        samples: types_pb2.Artifact | None = None,
        recorded: bool = False,
    ) -> Message:
        return events_pb2.DeviceRunFinished(
            run=self.context,
            cell=self.cell(variant, farm),
            attempt=attempt,
            log=artifact(f"log {variant} {farm} {attempt}"),
            samples=samples,
            edge_logs=[artifact(f"edge log {variant} {farm} {attempt}")] if recorded else [],
        )

    def diagnosed(self, variant: str, farm: str = "local", *, attempt: int = 1, problem: str = "") -> Message:
        """An app that exchanges channels; or why its recording could not be diagnosed."""
        found = events_pb2.DeviceRunDiagnosed(run=self.context, cell=self.cell(variant, farm), attempt=attempt)
        if problem:
            found.failure.CopyFrom(failure(problem))
            return found
        found.verdict = events_pb2.DeviceRunDiagnosed.APP_VERDICT_BROKEN
        found.frames = 12
        found.gaps.append("a file of the session is missing")
        found.diagnosis.CopyFrom(artifact(f"diagnosis {variant} {farm}"))
        words = ["the app feeds blue first"]
        found.causes.add(code="preprocessing.channel_order", confidence=0.98, verified=True, words=words)
        found.causes.add(code="kernel", layer="conv_1", op_index=0, confidence=0.7, words=["conv_1 differs"])
        return found

    def run_failed(
        self, variant: str, farm: str = "local", message: str = "the app crashed", attempt: int = 3
    ) -> Message:
        return events_pb2.DeviceRunFailed(
            run=self.context, cell=self.cell(variant, farm), attempt=attempt, failure=failure(message)
        )

    def measured(
        self,
        variant: str,
        farm: str = "local",
        *,
        p50: float | None = 4.0,
        p95: float | None = 6.0,
        memory_mb: float | None = 50.0,
        attempt: int = 1,
        nodes: tuple[int, int] | None = None,
        delegate: str | None = None,
        shapes_known: bool | None = None,
        unstable: str = "",
    ) -> Message:
        """`nodes`: delegated and all; `unstable`: why the latency is."""
        conditions = types_pb2.RunConditions(other_load_cores=1.9, repeats=2, unstable=True, reason=unstable)
        latency = types_pb2.LatencyFigures(p50=p50, p95=p95, mean=4.2, min=3.9, max=9.0, std=0.3, samples=200)
        return events_pb2.DeviceRunMeasured(
            run=self.context,
            cell=self.cell(variant, farm),
            attempt=attempt,
            measurement=types_pb2.Measurement(
                latency_ms=latency,
                init_ms=3.5,
                memory_mb=memory_mb,
                delegate=self.cell(variant, farm).accelerator if delegate is None else delegate,
                nodes_delegated=None if nodes is None else nodes[0],
                nodes_total=None if nodes is None else nodes[1],
                input_shapes=[types_pb2.InputShape(name="image", shape=(1, 48, 48, 3))],
                shapes_known=shapes_known,
                conditions=conditions if unstable else None,
            ),
            device=types_pb2.DeviceFacts(name="host", cpu="some CPU", cores=2, runtime="ai-edge-litert 2.3.0"),
        )

    def variant(self, name: str) -> list[Message]:
        """All events of one variant."""
        events = [self.ready(name), self.compared(name), self.planned(name)]
        for farm in self.farms:
            events += [
                self.built(name, "android" if farm == "adb" else "host"),
                self.finished(name, farm),
                self.measured(name, farm),
            ]
        return events

    def all(self) -> list[Message]:
        """All events of the run but `model.trained`, in the order in which they happen."""
        return [self.converted(), *(event for name in self.variants for event in self.variant(name))]


def as_event(message: Message, *, id: str = "") -> Event:
    """The event as a service receives it. Equal messages have one id."""
    content = hashlib.sha256(message.SerializeToString(deterministic=True)).hexdigest()
    own = id or event_id(subjects.subject_of(message), content)
    return decode(*encode(message, id=own, source="/windtunnel/tests", run_id=""))


def as_events(messages: Sequence[Message]) -> list[Event]:
    return [as_event(message) for message in messages]
