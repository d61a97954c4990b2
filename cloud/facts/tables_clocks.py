"""Tables of clock fixes and parked frames."""
