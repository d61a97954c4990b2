import pytest

from devices.errors import ConfigurationError
from devices.profile import load_profiles, packaged_profile, parse_profile
from devices.rule_kinds import Signal
from devices.rule_truth import concerns, device_judge
from devices.rules import known_rules, packaged_rules, parse_rules
from devices.states import EquipmentState

# the rule, the product, the registers that make it true, and those that do not
SIGNALS = [
    ("fire-alarm", "fire-alarm-contact", {"fire": 1}, {"fire": 0}),
    ("fire-pump-failure", "fire-pump-gpx", {"alarms_1": 1 << 5}, {"alarms_1": 1 << 8}),
    ("fire-pump-failure", "fire-pump-gpx", {"alarms_1": 1 << 7}, {"alarms_1": 0}),
    ("lift-trapped", "lift-dry-contact", {"trapped_alarm": 1}, {"trapped_alarm": 0}),
    ("mains-lost", "mains-loss", {"mains_present": 0}, {"mains_present": 1}),
    ("mains-lost", "smartgen-hgm4000", {"mains_fault": 1}, {"mains_fault": 0}),
    ("water-leak", "leak-contact", {"leak": 1}, {"leak": 0}),
    ("genset-not-auto", "dse-gencomm", {"mode": 0}, {"mode": 1}),
    ("genset-not-auto", "comap-il4", {"mode": 1}, {"mode": 3}),
    ("genset-not-auto", "smartgen-hgm4000", {"auto_mode": 0, "test_mode": 0}, {"auto_mode": 0, "test_mode": 1}),
    ("genset-low-fuel", "dse-gencomm", {"fuel": 9.0}, {"fuel": 10.0}),
    ("genset-low-fuel", "smartgen-hgm4000", {"low_fuel": 1}, {"low_fuel": 0}),
    ("genset-battery-low", "comap-il4", {"battery_voltage": 21.0}, {"battery_voltage": 24.0}),
    ("genset-battery-low", "dse-gencomm", {"battery_voltage": 10.5}, {"battery_voltage": 12.0}),
    ("ups-on-battery", "apc-smart-ups", {"status": 1 << 2}, {"status": 1 << 1}),
    ("ups-replace-battery", "apc-smart-ups", {"battery_errors": 1 << 2}, {"battery_errors": 1}),
]


@pytest.mark.parametrize(("rule", "product", "wrong", "right"), SIGNALS)
def test_a_rule_is_true_of_the_registers_that_its_product_documents(
    rule: str, product: str, wrong: dict[str, float], right: dict[str, float]
) -> None:
    judge = device_judge(known_rules()[rule], packaged_profile(product))

    assert judge is not None
    assert judge.truth(wrong, was=False) is True
    assert judge.truth(right, was=True) is False
    assert judge.truth({}, was=True) is None


def test_every_signal_of_the_pack_is_in_a_shipped_profile_but_one_no_public_map_has() -> None:
    wanted = {name for rule in packaged_rules().rules if isinstance(rule.when, Signal) for name in rule.when.signals}
    known = {name for profile in load_profiles().values() if profile.rules for name in profile.rules.signals}

    # a lift between landings: only the lift's own protocol says so; high level: the same contact as a leak
    assert wanted - known == {"lift_outside_zone", "high_level"}
    assert known <= wanted


def test_a_threshold_comes_back_by_its_deadband_and_says_value_and_limit() -> None:
    [rule] = parse_rules(
        "id: own\nversion: 1\nrules:\n  - {id: hot, severity: yellow, name: Hot, when: {kind: threshold,"
        " measure: temperature, side: above, limit: 40, deadband: 2}}\n",
        "own.yaml",
    ).rules
    judge = device_judge(rule, packaged_profile("apc-smart-ups"))

    assert judge is not None
    assert [
        judge.truth({"temperature": t}, was=w) for t, w in ((40, False), (40.5, False), (39, True), (38, True))
    ] == [
        False,
        True,
        True,
        False,
    ]
    assert judge.parameters({"temperature": 40.5}) == {"value": "40.5 degC", "limit": "40 degC"}
    assert device_judge(rule, packaged_profile("leak-contact")) is None


def test_a_state_rule_is_about_the_criticalities_and_classes_it_names() -> None:
    rule = known_rules()["equipment-fault-a"]
    judge = device_judge(rule, packaged_profile("generic-di"))

    assert judge is not None
    assert judge.truth({"fault": 1}, was=False) is True
    assert judge.truth({"fault": 0}, was=False, state=EquipmentState.UNKNOWN) is None
    assert concerns(rule.when, "lift", "A")  # type: ignore[arg-type]
    assert not concerns(rule.when, "lift", None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("signals: {leaking: leek}", "pump.yaml:9:20: leaking: unknown point 'leek'"),
        ("measures: {level: leak}", "pump.yaml:9:19: 'leak' is no point with a unit"),
    ],
)
def test_a_role_that_names_no_point_is_refused_with_its_place(line: str, message: str) -> None:
    text = f"""\
id: pump
source: {{document: none, verified: unverified}}
modbus: {{}}
poll: {{state: 1s}}
points:
  - {{id: leak, function: discrete, address: 0, type: bool, poll: state}}
states:
  fault: leak
{line}
"""
    with pytest.raises(ConfigurationError) as found:
        parse_profile(text, "pump.yaml")

    assert str(found.value.problems[0]).startswith(message)


def test_signal_points_are_evidence_like_state_points() -> None:
    profile = packaged_profile("apc-smart-ups")

    assert profile.series("ups-1", "status").hold_s > 0
    assert packaged_profile("smartgen-hgm4000").state_points >= {"mains_fault"}
