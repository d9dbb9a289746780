"""The least service: `python -m support.tiny_service`. It notes each event in HOME/notes, and takes a while for it."""

from __future__ import annotations

import asyncio

import grpc
from pydantic import Field

from windtunnel.bus import Event, subjects
from windtunnel.errors import WindtunnelError
from windtunnel.service import runtime
from windtunnel.service.runtime import Parts, Runtime
from windtunnel.service.settings import ServiceSettings

API = "tests.Tiny"


class TinySettings(ServiceSettings):
    """The tiny service's settings, in addition to those of every service."""

    work_s: float = Field(0.0, ge=0, description="Time that an event takes.")
    build_s: float = Field(0.0, ge=0, description="Time that its parts take, as a database that is away does.")
    breaks: bool = Field(False, description="A loop of the service fails after a moment.")


def _register(server: grpc.aio.Server) -> None:
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(API, {}),))


async def build(rt: Runtime[TinySettings]) -> Parts:
    """The tiny service's parts."""
    if rt.settings.build_s:
        (rt.settings.home_folder / "building").touch()
        await asyncio.sleep(rt.settings.build_s)
    notes = rt.settings.home_folder / "notes"

    def note(line: str) -> None:
        with notes.open("a") as file:
            file.write(f"{line}\n")

    async def handle(event: Event) -> None:
        note(f"begins {event.id}")
        await asyncio.sleep(rt.settings.work_s)
        note(f"ends {event.id}")

    async def on_failure(event: Event, error: WindtunnelError) -> None:
        raise AssertionError((event, error))

    async def break_down() -> None:
        await asyncio.sleep(0.3 if rt.settings.breaks else 3600)
        raise RuntimeError("broken on purpose")

    parts = Parts(
        servicers=[(API, _register)],
        workers=[rt.worker("tiny", [subjects.VARIANT_READY], handle, on_failure)],
        tasks=[break_down],
    )
    parts.resources.callback(note, "closed")
    return parts


if __name__ == "__main__":
    runtime.main("tiny", TinySettings, build)
