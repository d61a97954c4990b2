"""Whom the uplink believes: over real TLS, with the clock at 1970 and without."""

import asyncio
import datetime as dt
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest

from edge.backoff import Backoff
from edge.clock import Clock
from edge.cloud_client import CloudClient, Untrusted
from edge.trust import DatedContext
from edge.uplink import Uplink
from tests.certificates import BEGIN, END, Authority
from tests.edge.small_cloud import SmallCloud, small_cloud
from tests.edge.test_clock import Told
from tests.edge.test_uplink import KEY, Edge
from tests.waiting import until

IN_1970_MS = 17_000
NOW = dt.datetime(2027, 3, 1, tzinfo=dt.UTC)
NOW_MS = int(NOW.timestamp() * 1000)
YEAR = dt.timedelta(days=365)


@asynccontextmanager
async def served(
    folder: Path, begin: dt.datetime = BEGIN, end: dt.datetime = END, **named: str
) -> AsyncIterator[SmallCloud]:
    """A cloud with a certificate of these dates whose clock shows `NOW`."""
    certificate, key = Authority.make(folder).issue("server", begin, end, **named)
    async with small_cloud(KEY.public_key(), lambda: NOW_MS) as cloud:
        await cloud.stop()
        cloud.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        cloud.tls.load_cert_chain(certificate, key)
        await cloud.start()
        yield cloud


@asynccontextmanager
async def asking(cloud: SmallCloud, clock: Clock, ca_file: Path | None) -> AsyncIterator[CloudClient]:
    client = CloudClient(cloud.url, "gw-1", KEY, clock, ca_file)
    try:
        yield client
    finally:
        await client.close()


async def test_a_gateway_in_1970_gets_the_time_then_checks_the_dates_and_only_then_shows_its_token(
    tmp_path: Path,
) -> None:
    clock = Clock(Told(wall_ms=IN_1970_MS))
    async with served(tmp_path, NOW - YEAR, NOW + YEAR) as cloud, asking(cloud, clock, tmp_path / "ca.pem") as client:
        receipt = await client.receipt()
        tokens = list(cloud.tokens)

    assert receipt.log_id == "log-1"
    assert clock.now().trusted
    assert abs(clock.now().utc_ms - NOW_MS) < 2_000
    assert tokens[0] == ""
    assert all(tokens[1:])
    assert len(cloud.connected_s) == 2


@pytest.mark.parametrize(("begin", "end", "says"), [(BEGIN, NOW - YEAR, "expired"), (NOW + YEAR, END, "not valid yet")])
async def test_a_time_that_the_certificate_was_not_valid_at_is_thrown_away_and_the_alarm_says_so(
    tmp_path: Path, begin: dt.datetime, end: dt.datetime, says: str
) -> None:
    clock = Clock(Told(wall_ms=IN_1970_MS))
    run = clock.now().run
    async with served(tmp_path, begin, end) as cloud, asking(cloud, clock, tmp_path / "ca.pem") as client:
        for _ in range(2):
            with pytest.raises(Untrusted, match=rf"{says}.*said 2027-03-01.* not believed"):
                await client.receipt()

    assert not clock.now().trusted
    assert (clock.now().run, clock.fixes) == (run, ())
    assert set(cloud.tokens) == {""}


@pytest.mark.parametrize(("begin", "end", "says"), [(BEGIN, NOW - YEAR, "expired"), (NOW + YEAR, END, "not valid yet")])
async def test_with_a_trusted_clock_dates_are_checked_before_anything_is_sent(
    tmp_path: Path, begin: dt.datetime, end: dt.datetime, says: str
) -> None:
    clock = Clock(Told(wall_ms=NOW_MS, ntp_ms=10))
    async with served(tmp_path, begin, end) as cloud, asking(cloud, clock, tmp_path / "ca.pem") as client:
        with pytest.raises(Untrusted, match=says):
            await client.receipt()

    assert cloud.requests == 0


@pytest.mark.parametrize("wall_ms", [IN_1970_MS, NOW_MS])
async def test_chain_and_name_are_checked_whatever_the_time(tmp_path: Path, wall_ms: int) -> None:
    clock = Clock(Told(wall_ms=wall_ms))
    other = Authority.make(tmp_path, "other")
    async with served(tmp_path, host="127.0.0.2") as cloud, asking(cloud, clock, tmp_path / "ca.pem") as client:
        with pytest.raises(Untrusted, match="IP address mismatch"):
            await client.receipt()
    async with served(tmp_path) as cloud, asking(cloud, clock, other.folder / "other.pem") as client:
        with pytest.raises(Untrusted, match="did not prove who it is"):
            await client.receipt()
    async with served(tmp_path) as cloud, asking(cloud, clock, None) as client:
        with pytest.raises(Untrusted, match="did not prove who it is"):
            await client.receipt()

    assert cloud.requests == 0
    assert not clock.now().trusted


async def test_an_authority_that_has_expired_is_no_longer_believed(tmp_path: Path) -> None:
    """The whole chain is looked at, not the server's own certificate only."""
    clock = Clock(Told(wall_ms=int((END + YEAR).timestamp() * 1000), ntp_ms=10))
    async with (
        served(tmp_path, BEGIN, END + 2 * YEAR) as cloud,
        asking(cloud, clock, tmp_path / "ca.pem") as client,
    ):
        with pytest.raises(Untrusted, match="CN=ca is expired"):
            await client.receipt()


async def test_the_agent_raises_an_alarm_until_the_cloud_can_be_believed(tmp_path: Path) -> None:
    edge = Edge(tmp_path / "journal")
    async with served(tmp_path, BEGIN, NOW - YEAR) as cloud, edge.sealing():
        client = CloudClient(cloud.url, "gw-1", KEY, Clock(Told(wall_ms=NOW_MS, ntp_ms=10)), tmp_path / "ca.pem")
        uplink = Uplink(edge.journal, client, edge.clock, Random(1), spread_s=0.0)
        uplink._backoff = Backoff(Random(2), first_s=0.02, cap_s=0.1)
        task = asyncio.create_task(uplink.run())
        await until(lambda: "expired" in uplink.alarms, "the alarm")
        certificate, key = Authority.make(tmp_path).issue("server")
        assert cloud.tls is not None
        cloud.tls.load_cert_chain(certificate, key)
        client._trust = DatedContext.of(tmp_path / "ca.pem", client._calendar_ms)  # the new authority
        client._http = client._connections()
        await until(lambda: uplink.state.connected and not uplink.alarms, "the end of the alarm")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await client.close()
