"""What happens on one seeded day: what the machines truly do, and which faults come when. Seconds since its start."""

from dataclasses import dataclass, field
from random import Random

MACHINES = ("m1", "m2", "m3")
RUN, STANDBY, BROKEN = "run", "standby", "fault"
DWELL_S = {RUN: (120.0, 2400.0), STANDBY: (120.0, 1800.0), BROKEN: (90.0, 900.0)}
NETWORK_FAULTS = ("down", "black-hole", "lost-ack", "busy", "throttled", "late", "double", "slow")


@dataclass(frozen=True, slots=True)
class Spell:
    """Something that lasts from one moment to another."""

    what: str
    from_s: float
    to_s: float


@dataclass(frozen=True, slots=True)
class Plan:
    """One day. `length_s` is when the last fault has ended; what follows is peace, for everything to be delivered."""

    seed: int
    length_s: float
    truth: dict[str, list[Spell]]
    network: list[Spell]
    cloud_restarts_s: list[float]
    silences: dict[str, list[Spell]]
    connection_losses: list[Spell]
    kills: list[Spell]
    disk: list[Spell] = field(default_factory=list)
    clock_known_s: float = 0.0  # until then the gateway believes that it is 1970, and knows that it does not know

    def mode(self, machine: str, now_s: float) -> str:
        """What a machine truly does."""
        return next((one.what for one in self.truth[machine] if one.from_s <= now_s < one.to_s), STANDBY)

    def without_faults(self) -> "Plan":
        """The same day in peace."""
        return Plan(self.seed, self.length_s, self.truth, [], [], {}, [], [])


def plan_of(seed: int, hours: float, *, of_site: bool) -> Plan:
    """A day of so many hours. With `of_site` reading and the agent meet faults too."""
    rng = Random(seed)
    length_s = hours * 3600.0
    truth = {name: _truth(rng, length_s + 600) for name in MACHINES}
    network = [
        Spell(rng.choice(NETWORK_FAULTS), one.from_s, one.to_s)
        for one in _spells(rng, "", length_s, pause_s=(60, 1500), lasts_s=(5, 900))
    ]
    restarts_s = sorted(rng.uniform(60, length_s) for _ in range(rng.randrange(3)))
    if not of_site:
        return Plan(seed, length_s, truth, network, restarts_s, {}, [], [])
    silences = {name: _spells(rng, "silent", length_s, pause_s=(300, 4000), lasts_s=(5, 600)) for name in MACHINES}
    losses = _spells(rng, "lost", length_s, pause_s=(900, 7200), lasts_s=(2, 300))
    kills = _spells(rng, "off", length_s, pause_s=(900, 5400), lasts_s=(1, 240))
    return Plan(seed, length_s, truth, network, restarts_s, silences, losses, kills)


def plan_of_disk(seed: int, hours: float) -> Plan:
    """A day on which the gateway's disk is full or read-only now and then, and the cloud out of reach."""
    rng = Random(seed)
    calm = plan_of(seed, hours, of_site=False)
    disk = [
        Spell(rng.choice(("full", "read-only")), one.from_s, one.to_s)
        for one in _spells(rng, "", calm.length_s, pause_s=(120, 1800), lasts_s=(5, 900))
    ]
    return Plan(seed, calm.length_s, calm.truth, calm.network, [], {}, [], [], disk)


def _truth(rng: Random, length_s: float) -> list[Spell]:
    spells: list[Spell] = []
    now_s, mode = 0.0, rng.choice((RUN, STANDBY))
    while now_s < length_s:
        to_s = now_s + rng.uniform(*DWELL_S[mode])
        spells.append(Spell(mode, now_s, to_s))
        now_s, mode = to_s, rng.choice([one for one in DWELL_S if one != mode])
    return spells


def _spells(
    rng: Random, what: str, length_s: float, *, pause_s: tuple[float, float], lasts_s: tuple[float, float]
) -> list[Spell]:
    spells: list[Spell] = []
    now_s = rng.uniform(*pause_s)
    while now_s < length_s:
        to_s = min(now_s + rng.uniform(*lasts_s), length_s)
        spells.append(Spell(what, now_s, to_s))
        now_s = to_s + rng.uniform(*pause_s)
    return spells


def during(spells: list[Spell], now_s: float) -> str:
    """What of these is going on, empty if nothing is."""
    return next((one.what for one in spells if one.from_s <= now_s < one.to_s), "")
