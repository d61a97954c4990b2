"""Payloads of devices that push, turned into observations. Pure."""
