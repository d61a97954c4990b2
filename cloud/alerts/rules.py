"""The rules of the packaged pack, under the names by which the cloud's parts know them."""

from devices.rules import Rule, Severity, known_rules

__all__ = ["DEFAULT_RULES", "Rule", "Severity"]

DEFAULT_RULES: tuple[Rule, ...] = tuple(known_rules().values())
