"""How long things take on a serial line: characters, frames, silences. Pure.

Source: MODBUS over Serial Line, specification and implementation guide V1.02, 2.5.1 (RTU framing and timing).
"""

from edge.config import ModbusServer

REQUEST_BYTES = 8  # unit, function, address, count, check
ANSWER_BYTES = 5  # unit, function, byte count, check; the data come on top
SILENT_CHARACTERS = 3.5  # between two frames ...
SILENT_FAST_S = 0.00175  # ... and above 19,200 baud
FAST_BAUD = 19_200


def character_s(server: ModbusServer) -> float:
    """One character on the line, in seconds: a start bit, 8 data bits, parity, stop bits."""
    return (1 + 8 + (server.parity != "N") + server.stopbits) / server.baudrate


def silent_s(server: ModbusServer) -> float:
    """The silence that ends a frame, in seconds."""
    return SILENT_FAST_S if server.baudrate > FAST_BAUD else SILENT_CHARACTERS * character_s(server)


def data_bytes(count: int, *, bits: bool) -> int:
    """How many bytes an answer carries for `count` registers or bits."""
    return (count + 7) // 8 if bits else 2 * count


def transfer_s(server: ModbusServer, data: int) -> float:
    """A request and an answer with `data` bytes on the line, in seconds, without any waiting."""
    return (REQUEST_BYTES + ANSWER_BYTES + data) * character_s(server)
