"""The agent on a site gateway: reads devices, keeps readings in a journal, sends them. Imports devices only."""
