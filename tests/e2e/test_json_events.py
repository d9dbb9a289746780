"""A model over https://, and every event of its run as plain JSON for any listener, once."""

from __future__ import annotations

import hashlib
import json
import uuid
from pathlib import Path

import pytest
from nats.js import JetStreamContext

from support.https import https_server
from support.models import DigitsModels
from support.system import System

pytestmark = pytest.mark.heavy


async def test_every_event_of_a_run_is_told_as_json_once(tmp_path: Path, models: DigitsModels) -> None:
    content = models.float32.read_bytes()
    with https_server(tmp_path / "tls", lambda request: request.answer(200, content)) as server:
        environment = {
            "WINDTUNNEL_JSON_EVENTS": "true",
            "WINDTUNNEL_HTTPS_HOSTS": server.host,
            "SSL_CERT_FILE": str(server.authority.cert),
        }
        system = System(tmp_path / "home", environment).start()
        model = {
            "name": "digits",
            "version": "1",
            "uri": f"https://{server.host}/models/digits.tflite",
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        try:
            await follow(system, models, model)
        finally:
            assert system.stop() == 0


async def everything(js: JetStreamContext) -> list[tuple[str, dict[str, str], bytes]]:
    """Subject, headers and data of every message in the stream."""
    last = (await js.stream_info("WINDTUNNEL")).state.last_seq
    messages = [await js.get_msg("WINDTUNNEL", sequence) for sequence in range(1, last + 1)]
    return [(str(one.subject), dict(one.headers or {}), one.data or b"") for one in messages]


async def follow(system: System, models: DigitsModels, model: dict[str, str]) -> None:
    run_id = "told-as-json"
    event = {
        "specversion": "1.0",
        "type": "windtunnel.model.trained.v1",
        "source": "/training/listener",
        "id": uuid.uuid4().hex,
        "data": {
            "run_id": run_id,
            "model": model,
            "plan": {
                "apiVersion": "windtunnel/v1",
                "data": {"samples": system.inbox(models.samples)},
                "variants": ["float32"],
                "devices": [{"farm": "local", "accelerator": "xnnpack", "threads": 1}],
            },
        },
    }
    async with system.jetstream() as js:
        await js.publish("windtunnel.model.trained", json.dumps(event).encode())
        await system.completed(js, run_id)
        heard = await everything(js)
        binary = [(s, h) for s, h, _ in heard if not s.startswith("windtunnel.json.")]
        told = {s: json.loads(data) for s, _, data in heard if s.startswith("windtunnel.json.")}
    subjects = [subject.removeprefix("windtunnel.") for subject, _ in binary]
    # The verdict is published first, and as JSON a moment later: it may still be on its way.
    wanted = {f"windtunnel.json.{subject}" for subject in subjects} - {"windtunnel.json.run.completed"}
    assert wanted <= set(told)
    assert len(subjects) == len(set(subjects)), "each event of this run comes once"
    ids = {subject: headers.get("ce-id", event["id"]) for subject, headers in binary}
    for subject, envelope in told.items():
        assert envelope["id"] == ids[f"windtunnel.{subject.removeprefix('windtunnel.json.')}"]
        assert envelope["datacontenttype"] == "application/json"
    assert told["windtunnel.json.variant.ready"]["data"]["variant"]["name"] == "float32"
    assert told["windtunnel.json.model.trained"]["data"] == event["data"]
    report = json.loads(system.cli("report", run_id, "--json").stdout)
    assert report["verdict"] == "passed"
    assert json.loads(system.cli("deadletters", "list", "--json").stdout) == []
