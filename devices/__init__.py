"""Ground floor: what a device is and how a measurement is written down. No sockets, no asyncio, no clock."""
