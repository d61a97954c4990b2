"""A site with one device of any shipped profile, told by frames; live state, alerts on real files, a moved clock."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from cloud.alerts.alert import Alert
from cloud.alerts.engine import AlertEngine
from cloud.alerts.trials import TrialRecord
from cloud.alerts.view import SiteView, Watched, WatchedRobot, WatchedSpace
from devices.columns import Confirmations, Numbers
from devices.frame import Content, Origin
from devices.profile import LoadedProfile, packaged_profile
from devices.reading import Series
from devices.records import Inventory, Link, ProfileText, Record
from devices.rules import Rule, known_rules
from devices.words import LANGUAGES, say
from tests.cloud.live_world import SITE, World

Values = Mapping[str, float]
ALWAYS = ((0, 24 * 60),)
ONLINE: Values = {"connection": 1, "mode": 0, "estop": 0, "error_level": 0}


class RuleWorld(World):
    """`thing` is the ledger id of the one device, of this product."""

    def __init__(self, database: Path, product: str | LoadedProfile, rules: Mapping[str, Rule] | None = None) -> None:
        super().__init__(database)
        self.profile = packaged_profile(product) if isinstance(product, str) else product
        kind = self.profile.kind
        self.watch.seen = SiteView(
            SITE,
            rules or known_rules(),
            (Watched("thing", "dev-1", "A", "machine"),) if kind == "equipment" else (),
            (WatchedRobot("thing", "dev-1", ALWAYS),) if kind == "robot" else (),
            (WatchedSpace("thing", "b1-cars", "dev-1"),) if kind == "space" else (),
        )
        self.trials = TrialRecord(self.database)
        self.engine = AlertEngine(self.store, self.live, self.watch, lambda: self.now_ms, trials=self.trials)
        self.engine.view(SITE)

    def describe(self, *more: Record) -> None:
        """Let the gateway say what it reads."""
        infos = (self.profile.device_info("dev-1"),)
        records = (ProfileText(self.profile.hash, self.profile.text), Inventory(self.now_ms, "0", "", infos), *more)
        self._arrive(Content(records=records), Origin.LIVE)

    def tell(self, values: Values, *, at_ms: int | None = None, origin: Origin = Origin.LIVE) -> None:
        """Let a frame with these values arrive, all of one time."""
        self.tell_steps([(self.now_ms if at_ms is None else at_ms, values)], origin=origin)

    def tell_steps(self, steps: Sequence[tuple[int, Values]], *, origin: Origin = Origin.LIVE) -> None:
        """Let one frame with values of several times arrive."""
        points = sorted({point for _, values in steps for point in values})
        rows = [(points.index(point), time_ms, value) for time_ms, values in steps for point, value in values.items()]
        series = tuple(Series("dev-1", point, self.profile.unit_of(point), 60) for point in points)
        columns = ([row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows])
        numbers = Numbers.of(*columns, [0] * len(rows))
        self._arrive(Content(series, numbers), origin)

    def confirm(self, values: Values, changed_ms: int, confirmed_ms: int, *, first: Mapping[str, int] = {}) -> None:
        """Let a keyframe arrive: these values have held since a time, those in `first` since one of their own."""
        series = tuple(Series("dev-1", point, self.profile.unit_of(point), 60) for point in values)
        count = len(series)
        changed = [first.get(point, changed_ms) for point in values]
        told = list(values.values())
        rows = Confirmations.of(list(range(count)), changed, [confirmed_ms] * count, told, [0] * count)
        self._arrive(Content(series, confirmations=rows), Origin.LIVE)

    def silence(self, last_ok_ms: int) -> None:
        """Let the gateway say that the device does not answer."""
        self._arrive(
            Content(records=(Link("dev-1", "", good=False, time_ms=self.now_ms, last_ok_ms=last_ok_ms),)), Origin.LIVE
        )

    def alive(self) -> None:
        """An empty frame."""
        self._arrive(Content(), Origin.LIVE)

    async def pass_time(self, seconds: float, *, step_s: float = 30.0) -> None:
        """Let time pass with a gateway that goes on sending empty frames."""
        end_ms = self.now_ms + round(seconds * 1000)
        while self.now_ms < end_ms:
            self.now_ms = min(self.now_ms + round(step_s * 1000), end_ms)
            self.alive()
            await self.engine.evaluate(SITE)

    def alerts(self, rule: str) -> list[Alert]:
        """Open alerts of a rule, each of which can say its sentence in every language."""
        found = [alert for alert in self.engine.open_alerts(SITE) if alert.key.rule == rule]
        assert all(say(language, one.text, **one.parameters, thing_name="X") for one in found for language in LANGUAGES)
        return found


@contextmanager
def rule_world(
    database: Path, product: str | LoadedProfile, rules: Mapping[str, Rule] | None = None
) -> Iterator[RuleWorld]:
    world = RuleWorld(database, product, rules)
    try:
        yield world
    finally:
        world.close()


def calm(world: RuleWorld, right: Values) -> Values:
    """Every state point at a value at which nothing is wrong."""
    zeros: Values = dict.fromkeys(world.profile.state_points, 0.0)
    fine = {"mode": 2.0, "fuel": 50.0, "battery_voltage": 24.0} if world.profile.id == "comap-il4" else {}
    robot = ONLINE if world.profile.kind == "robot" else {}
    return {**zeros, **fine, **robot, **right}
