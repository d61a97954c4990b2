"""The front door: `gatehouse edge|cloud|sim VERB`. Each package is imported only when its command is used."""
