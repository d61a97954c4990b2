import pytest

from devices.errors import ConfigurationError
from devices.rule_kinds import ThresholdRule
from devices.rules import (
    Mode,
    Severity,
    Where,
    known_rules,
    packaged_rules,
    parse_rules,
    parse_site_rules,
    rules_of_site,
)

WARM = """\
id: own
version: 1
rules:
  - id: chiller-warm
    severity: orange
    when: {kind: threshold, measure: leaving_water, side: above, limit: 12, deadband: 1, classes: [chiller]}
    name: Water too warm
    on_delay: 1min
"""


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as found:
        parse_rules(text, "own.yaml")
    return [str(problem) for problem in found.value.problems]


def test_a_pack_says_durations_in_words_and_limits_in_the_measures_unit() -> None:
    [rule] = parse_rules(WARM, "own.yaml").rules

    assert isinstance(rule.when, ThresholdRule)
    assert (rule.severity, rule.delays.on_ms, rule.deadband) == (Severity.ORANGE, 60_000, 1.0)
    assert (rule.mode, rule.at, rule.latched) == (Mode.LIVE, Where.CLOUD, False)


@pytest.mark.parametrize(
    ("wrong", "right", "place"),
    [
        ("limit: 12", "limit: warm", "own.yaml:6:73: rules.0.when.threshold.limit: 'warm'"),
        ("deadband: 1", "dead_band: 1", "own.yaml:6:77: unknown key 'dead_band': did you mean 'deadband'?"),
        ("severity: orange", "severity: pink", "own.yaml:5:15: rules.0.severity: 'pink'"),
        ("kind: threshold", "kind: treshold", "own.yaml:6:11: rules.0.when"),
        ("on_delay: 1min", "on_delay: soon", "own.yaml:8:15: rules.0.on_delay: 'soon': expected a duration"),
        (
            "name: Water too warm",
            "text: alert.nothing",
            "own.yaml:7:11: there are no words for 'alert.nothing'",
        ),
        ("on_delay: 1min", "text: alert.fire_alarm", "own.yaml:4:9: chiller-warm needs either text"),
    ],
)
def test_a_mistake_is_named_with_its_line_and_column(wrong: str, right: str, place: str) -> None:
    [problem] = problems(WARM.replace(wrong, right))

    assert problem.startswith(place)


def test_a_gateway_cannot_be_asked_to_judge_an_indicator() -> None:
    text = WARM.replace(
        "{kind: threshold, measure: leaving_water, side: above, limit: 12, deadband: 1, classes: [chiller]}",
        "{kind: change, percent: 5}",
    )

    [problem] = problems(text.replace("on_delay: 1min", "at: edge"))

    assert problem.startswith("own.yaml:8:9: a gateway cannot judge 'change'")


def test_rules_with_one_id_and_rules_of_the_pack_are_refused() -> None:
    twice = WARM + WARM.split("rules:\n")[1]
    own = "rules:\n" + WARM.split("rules:\n")[1].replace("chiller-warm", "fire-alarm")
    with pytest.raises(ConfigurationError, match=r"site.yaml:2:9: 'fire-alarm' is a packaged rule"):
        parse_site_rules(own, "site.yaml")

    assert problems(twice) == ["own.yaml:9:9: the rule 'chiller-warm' stands here twice"]


def test_a_site_overrides_packaged_rules_and_adds_its_own() -> None:
    changes = parse_site_rules(
        "overrides:\n"
        "  - {rule: mains-lost, on_delay: 20s, severity: orange, latched: false}\n"
        "  - {rule: parking-full, mode: 'off'}\n"
        "  - {rule: water-leak, mode: shadow}\n"
        "rules:\n" + WARM.split("rules:\n")[1],
        "site.yaml",
    )

    rules = rules_of_site(known_rules(), changes)

    assert (rules["mains-lost"].delays.on_ms, rules["mains-lost"].severity) == (20_000, Severity.ORANGE)
    assert "parking-full" not in rules
    assert rules["water-leak"].mode is Mode.SHADOW
    assert rules["chiller-warm"].name == "Water too warm"
    assert rules_of_site(known_rules(), None) == known_rules()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("{rule: fire-alarn, mode: shadow}", "there is no rule 'fire-alarn': did you mean 'fire-alarm'?"),
        ("{rule: fire-alarm, limit: 3}", "fire-alarm is no threshold: it has no limit"),
    ],
)
def test_an_override_that_cannot_work_is_refused_with_its_place(override: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=r"site.yaml:2:\d+: " + message.replace("?", r"\?")):
        parse_site_rules(f"overrides:\n  - {override}\n", "site.yaml")


def test_the_default_pack_has_every_colour_as_the_domain_says() -> None:
    rules = packaged_rules().rules
    at_edge = {rule.id for rule in rules if rule.at is Where.EDGE}

    assert {rule.id for rule in rules if rule.severity is Severity.RED and not rule.latched} == set()
    assert {"fire-alarm", "fire-pump-failure", "lift-trapped", "mains-lost", "water-leak", "ups-on-battery"} < at_edge
    assert {f"equipment-fault-{one}" for one in "abc"} < at_edge
    assert all(rule.runbook for rule in rules)
