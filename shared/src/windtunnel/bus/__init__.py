"""Events between services: CloudEvents 1.0 over NATS JetStream, and the rules of the bus.

`Bus` is the port; `jetstream.connect` and `memory.MemoryBus` are its adapters. `Worker` keeps the rules (free
slots, heartbeats, back-off, dead letters, drain) on either; `Jobs` makes redelivery harmless.
"""

from windtunnel.bus.events import Event, Malformed, decode, encode, event_id
from windtunnel.bus.jobs import Jobs, each, job_key
from windtunnel.bus.port import Bucket, Bus, DeadLetter, Delivery, Published, Subscription
from windtunnel.bus.worker import Policy, Worker

__all__ = [
    "Bucket",
    "Bus",
    "DeadLetter",
    "Delivery",
    "Event",
    "Jobs",
    "Malformed",
    "Policy",
    "Published",
    "Subscription",
    "Worker",
    "decode",
    "each",
    "encode",
    "event_id",
    "job_key",
]
