"""Submit models and read verdicts from Python.

    from windtunnel.client import Client
    report = Client().submit("model.keras", plan="plan.yaml").wait()
    print(report.verdict, report.reasons)
    Client().run(report.run_id).variant("int8").download("model.tflite")

`Client` finds a running Windtunnel through WINDTUNNEL_HOME, or the addresses in WINDTUNNEL_* variables.
`AsyncClient` is the same for asyncio.
"""

from windtunnel.client.artifacts import Artifact
from windtunnel.client.async_run import AsyncRun, AsyncVariant, Progress
from windtunnel.client.client import AsyncClient
from windtunnel.client.comparison import Comparison
from windtunnel.client.endpoints import Endpoints, find_endpoints
from windtunnel.client.history import History
from windtunnel.client.listing import RunFilter, RunSummary
from windtunnel.client.report import Report
from windtunnel.client.sync import Client, Run, Variant

__all__ = [
    "Artifact",
    "AsyncClient",
    "AsyncRun",
    "AsyncVariant",
    "Client",
    "Comparison",
    "Endpoints",
    "History",
    "Progress",
    "Report",
    "Run",
    "RunFilter",
    "RunSummary",
    "Variant",
    "find_endpoints",
]
