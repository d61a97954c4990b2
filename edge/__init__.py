"""The agent on a site gateway: reads devices, keeps readings in a journal, sends them to the cloud. Imports devices only."""
