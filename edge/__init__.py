"""The agent on a site gateway: reads devices, keeps readings in a journal, sends them on. Imports devices only."""
