"""Random faults on real processes for some minutes, then the accounts: `make soak MINUTES=10`.

The last line says them in numbers; the exit code is 0 when accepted = delivered + lost with 0 doubles, else 1.
"""

import argparse
import asyncio
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

from simulators.faults import NO_FAULTS, Fate, Faults
from tests.scenarios import verbs
from tests.scenarios.accounts import accounts_of
from tests.scenarios.verbs import FaultySite, given_a_site

Deed = Callable[[FaultySite], Awaitable[None]]


async def uplink_faults(one: FaultySite) -> None:
    rng = one.rng
    kind = rng.choice(["drop", "duplicate", "truncate", "reset", "late", "lose-ack", "reorder"])
    faults = Faults(delay_s=rng.choice([0.0, 0.2, 1.0]), late_s=rng.uniform(1, 40)).with_share(
        Fate(kind), rng.uniform(0.1, 0.8)
    )
    sides = rng.choice([(faults, NO_FAULTS), (NO_FAULTS, faults), (faults, faults)])
    verbs.when_the_uplink_has_faults(one, requests=sides[0], answers=sides[1])


async def uplink_refuses(one: FaultySite) -> None:
    faults = Faults(refuse=one.rng.uniform(0.3, 1.0), status=one.rng.choice([429, 500, 503]), retry_after_s=1)
    verbs.when_the_uplink_has_faults(one, requests=faults)


async def uplink_cut(one: FaultySite) -> None:
    verbs.when_the_uplink_is_cut(one)


async def uplink_slow(one: FaultySite) -> None:
    one.uplink.bandwidth_bytes_s = one.rng.choice([500, 2_000, 20_000])


async def bus_faults(one: FaultySite) -> None:
    kind = one.rng.choice(["drop", "duplicate", "truncate", "reset", "late", "reorder"])
    verbs.when_the_bus_has_faults(one, answers=Faults(late_s=1.5).with_share(Fate(kind), one.rng.uniform(0.1, 0.9)))


async def bus_cut(one: FaultySite) -> None:
    one.bus.cut()


async def edge_killed(one: FaultySite) -> None:
    await one.site.edge.kill()
    await verbs.pause(one.rng.uniform(0, 3))
    await verbs.started(one)


async def cloud_killed(one: FaultySite) -> None:
    await one.site.cloud.kill()
    await verbs.pause(one.rng.uniform(0, 5))
    await one.site.start_cloud()


async def calm(one: FaultySite) -> None:
    await verbs.when_everything_is_mended(one)


DEEDS: tuple[Deed, ...] = (
    uplink_faults, uplink_faults, uplink_refuses, uplink_cut, uplink_slow, bus_faults, bus_cut, edge_killed,
    cloud_killed, calm,
)  # fmt: skip


async def soak(folder: Path, minutes: float, seed: int) -> bool:
    """Whether the accounts balance in the end; prints what was done and the accounts."""
    done: Counter[str] = Counter()
    async with given_a_site(folder, seed) as one:
        loop = asyncio.get_running_loop()
        until_s = loop.time() + 60 * minutes
        while loop.time() < until_s:
            deed = one.rng.choice(DEEDS)
            done[deed.__name__] += 1
            print(f"{60 * minutes - (until_s - loop.time()):6.0f} s  {deed.__name__}", flush=True)
            await deed(one)
            await verbs.pause(min(one.rng.uniform(1, 12), max(until_s - loop.time(), 0)))
            if one.rng.random() < 0.6:
                await calm(one)
        try:
            await verbs.then_everything_arrived_once(one)
        except AssertionError as error:
            print(f"not delivered: {error}")
        accounts = accounts_of(one.site)
    met = one.uplink.counts + one.bus.counts
    print(", ".join(f"{count} x {name}" for name, count in sorted(done.items())))
    print("messages: " + ", ".join(f"{count} {fate}" for fate, count in sorted(met.items())))
    verdict = "OK" if accounts.balanced else "FAILED"
    print(f"soak {verdict}: seed {seed}, {minutes:g} min: {accounts}")
    return accounts.balanced


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.scenarios.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, help="the faults of another run again; random if absent")
    chosen = parser.parse_args()
    seed = random.SystemRandom().randrange(1_000_000) if chosen.seed is None else chosen.seed
    with tempfile.TemporaryDirectory(prefix="gatehouse-soak-") as name:
        balanced = asyncio.run(soak(Path(name), chosen.minutes, seed))
    if not balanced:
        print(f"replay with: python -m tests.scenarios.soak --minutes {chosen.minutes:g} --seed {seed}")
    sys.exit(0 if balanced else 1)


if __name__ == "__main__":
    main()
