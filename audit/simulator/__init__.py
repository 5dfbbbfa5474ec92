"""A KMS that can be told to misbehave: one core without I/O, an in-process face and a socket face.

It answers enable-key-rotation, disable-key-rotation, update-key-rotation-interval, get-key-rotation-status, list-keys
and describe-key as the documents say (DEW API reference, error codes; API Gateway, error codes; API signing guide),
and where they are silent, in the way that asks more of a client. What it is told to get wrong stands in ``faults``.
"""

from audit.simulator.core import SIMULATED_ENDPOINT, SIMULATED_KEY, Core, Served
from audit.simulator.faults import FAULT_KINDS, NO_FAULTS, Fault, Faults, parse_faults
from audit.simulator.server import serve
from audit.simulator.transport import SimulatedTransport
from audit.simulator.wire import Break, Cut, Reply

__all__ = [
    "FAULT_KINDS",
    "NO_FAULTS",
    "SIMULATED_ENDPOINT",
    "SIMULATED_KEY",
    "Break",
    "Core",
    "Cut",
    "Fault",
    "Faults",
    "Reply",
    "Served",
    "SimulatedTransport",
    "parse_faults",
    "serve",
]
