"""The indicators of a package computed again from nothing but its frames and inputs, with the product's own code.

Works in a folder that is thrown away afterwards.
"""

import asyncio
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from cloud.evidence.verify import Contents, Verdict
from cloud.facts.database import ledgers, open_database, writing
from cloud.facts.days import day_of
from cloud.facts.store import FactStore
from cloud.facts.tables_inputs import inputs
from cloud.indicators.definition import Window
from cloud.indicators.registry import compute_over, definitions_at
from cloud.indicators.written import read_back, signature
from cloud.ingest.gateways import GatewayRegister
from cloud.ingest.log import Received
from cloud.ingest.log_segments import SegmentLog
from cloud.processor import Processor
from devices.errors import FrameError, Permanent
from devices.frame import read_header
from devices.reading import Lane

APPEND_FRAMES = 500
_OF_ALERTS = frozenset({"alarm"})  # their figures rest on records of alerts, not on frames


def recompute(contents: Contents, verdict: Verdict) -> int:
    """Compute every newest result again; how many were. What differs is a finding. Blocks."""
    with tempfile.TemporaryDirectory(prefix="gatehouse-audit-") as folder:
        try:
            return asyncio.run(_recompute(contents, verdict, Path(folder)))
        except (KeyError, TypeError, ValueError, sa.exc.SQLAlchemyError, Permanent) as error:
            verdict.findings.append(f"nothing can be computed from this package: {type(error).__name__}: {error}")
            return 0


async def _recompute(contents: Contents, verdict: Verdict, folder: Path) -> int:
    log, register = SegmentLog(folder / "log"), GatewayRegister(folder / "gateways.sqlite")
    engine = open_database(folder / "facts.sqlite")
    try:
        _enter(engine, contents)
        for gateway in contents.keys:
            for key in gateway["keys"]:
                public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key["public"]))
                register.add(gateway["gateway"], str(contents.manifest["site"]), public, key["valid_from_ms"])
        for batch in _batches(contents):
            await log.append(batch)
        processor = Processor(log, register, engine)
        while await processor.step():
            pass
        return await asyncio.to_thread(_compare, FactStore(engine), contents, verdict)
    finally:
        engine.dispose()
        register.close()
        log.close()


def _enter(engine: sa.Engine, contents: Contents) -> None:
    with writing(engine) as connection:
        for table, rows in ((ledgers, contents.inputs.get("ledgers", [])), (inputs, contents.inputs.get("inputs", []))):
            if any(set(row) != set(table.columns.keys()) for row in rows):
                raise Permanent(f"inputs.json: not what {table.name} are made of")
            if rows:
                connection.execute(sa.insert(table), list(rows))


def _batches(contents: Contents) -> Iterable[list[Received]]:
    batch: list[Received] = []
    for received_ms, data in contents.frames:
        try:
            gateway = read_header(data).gateway
        except FrameError:
            continue  # named by `verify` already
        batch.append(Received(received_ms, gateway, Lane.EVENTS, data))
        if len(batch) == APPEND_FRAMES:
            yield batch
            batch = []
    yield batch


def _compare(store: FactStore, contents: Contents, verdict: Verdict) -> int:
    site = str(contents.manifest["site"])
    created_ms = int(contents.manifest["created_ms"])
    newest: dict[tuple[str, int, int], dict[str, Any]] = {}
    first_ms, last_ms = int(contents.manifest["from_ms"]), int(contents.manifest["to_ms"])
    for row in contents.records["results"]:
        if first_ms <= row["from_ms"] and row["to_ms"] <= last_ms:
            newest[row["indicator"], row["from_ms"], row["to_ms"]] = row
    count = 0
    for (indicator, from_ms, to_ms), row in newest.items():
        if indicator.split(".")[0] in _OF_ALERTS:
            continue
        window = Window(from_ms, to_ms)
        ledger = store.ledger(site)
        if ledger is None:
            verdict.findings.append("inputs.json: there is no ledger of the site")
            return count
        held = store.ledger_on(site, day_of(to_ms - 1, ledger.site.time_zone)) or ledger
        if indicator not in definitions_at(store, held, from_ms):
            continue  # entered by hand: nothing to compute
        count += 1
        [now] = compute_over(store, held, [indicator], window, created_ms)
        kept = read_back(row["body"], revision=row["revision"], final=False)
        if signature(now) != signature(kept):
            values = f"{kept.numerator}/{kept.denominator}, computed {now.numerator}/{now.denominator}"
            verdict.findings.append(f"{indicator} of {window.from_ms}-{window.to_ms}: recorded {values}")
    return count
