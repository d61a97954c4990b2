"""Where a person says that devices are: HOST, HOST:PORT or the path of a serial port."""

from typing import Literal

from devices.errors import Permanent
from edge.config import ModbusServer

DEFAULT_PORT = 502


def server_at(
    where: str,
    *,
    rtu: bool = False,
    baudrate: int = 9600,
    parity: Literal["N", "E", "O"] = "N",
    stopbits: Literal[1, 2] = 1,
    timeout_s: float = 1.0,
) -> ModbusServer:
    """The server meant by HOST, HOST:PORT, [IPV6]:PORT or /dev/NAME. Raises Permanent."""
    if where.startswith("/"):
        return ModbusServer(serial=where, baudrate=baudrate, parity=parity, stopbits=stopbits, timeout_s=timeout_s)
    host, port = _host_and_port(where)
    return ModbusServer(host=host, port=port, framer="rtu" if rtu else "tcp", baudrate=baudrate, timeout_s=timeout_s)


def _host_and_port(where: str) -> tuple[str, int]:
    host, colon, digits = where.rpartition(":")
    if not colon or where.endswith("]") or (":" in host and not host.startswith("[")):
        host, digits = where, str(DEFAULT_PORT)  # no port, or a bare IPv6 address
    host = host.removeprefix("[").removesuffix("]")
    if not host or not digits.isascii() or not digits.isdigit() or not 1 <= int(digits) <= 65_535:
        raise Permanent(f"{where!r} is no place of devices: expected HOST, HOST:PORT or the path of a serial port")
    return host, int(digits)
