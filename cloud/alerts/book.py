"""The alerts that stand, in memory as on disk: every change of one goes through here.

A change takes effect in memory only after it is stored, so a process that dies on any line finds, at its next
start, either all of it or nothing. Belongs to one event loop; the store is called in threads.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence

from cloud.alerts.alert import HOLD_MS, Alert, Entry, Key
from cloud.alerts.lifecycle import Event, Passed, step
from cloud.alerts.store import AlertStore, VersionMismatch

Listener = Callable[[Alert], None]


class AlertBook:
    """All alerts of this process that are open or were until just now."""

    def __init__(self, store: AlertStore, now: Callable[[], int]) -> None:
        self._store = store
        self._now = now
        self._alerts: dict[str, dict[Key, Alert]] = {}
        self._writing = asyncio.Lock()
        self._listeners: list[Listener] = []
        self.loaded = asyncio.Event()

    def listen(self, listener: Listener) -> None:
        """Call `listener` with each alert after it changed."""
        self._listeners.append(listener)

    async def load(self) -> list[Alert]:
        """Take up what the last process left, and give it. Before this nothing may be evaluated."""
        found = await asyncio.to_thread(self._store.standing, self._now() - HOLD_MS)
        for alert in found:
            self._remember(alert)
        self.loaded.set()
        return found

    def get(self, key: Key) -> Alert | None:
        """Give the latest alert of this key that this process knows."""
        return self._alerts.get(key.site, {}).get(key)

    def sites(self) -> Iterable[str]:
        """Give every site that has an alert."""
        return tuple(self._alerts)

    def of_site(self, site: str) -> list[Alert]:
        """Give the latest alert of each key of a site, open or not."""
        return list(self._alerts.get(site, {}).values())

    def has_open(self, site: str) -> bool:
        """Whether a site has an open alert."""
        return any(alert.is_open for alert in self._alerts.get(site, {}).values())

    def open_alerts(self, site: str) -> list[Alert]:
        """Give the open alerts of a site, worst first, then newest."""
        found = [alert for alert in self._alerts.get(site, {}).values() if alert.is_open]
        return sorted(found, key=lambda alert: (-alert.severity.rank, -alert.opened_ms, alert.id))

    async def apply(self, events: Sequence[tuple[Key, Event]]) -> list[Alert]:
        """Let things happen in this order, all of them or none; the alerts that changed.

        Raises what `step` and `AlertStore.save` raise.
        """
        if not events:
            return []
        async with self._writing:
            return await self._apply(events)

    async def handle(self, alert: Alert, event: Event, version: int | None = None) -> Alert:
        """Do what a person asks for; the alert afterwards.

        `version` is the one that the person saw (of If-Match). Raises VersionMismatch and what `step` raises.
        """
        async with self._writing:
            current = self.get(alert.key)
            if current is None or current.id != alert.id:
                # one of the past: it is handled as it lies in the store, and leaves the one that stands alone
                current = await asyncio.to_thread(self._store.find, alert.id) or alert
                return await self._handle_past(current, event, version)
            _check_version(current, version)
            await self._apply([(alert.key, event)])
            return self.get(alert.key) or current

    async def record(self, event: Passed) -> bool:
        """Keep what was over before anybody here could know; whether it was not known already."""
        alert, entries = step(None, event, self._now())
        if alert is None:
            return False
        try:
            await asyncio.to_thread(self._store.save, [(alert, entries)])
        except VersionMismatch:
            return False
        return True

    async def record_all(self, events: Sequence[Passed]) -> int:
        """As `record`, for many at once; how many were not known already."""
        now_ms = self._now()
        stepped = (step(None, event, now_ms) for event in events)
        changes = [(alert, entries) for alert, entries in stepped if alert is not None]
        try:
            await asyncio.to_thread(self._store.save, changes)
        except VersionMismatch:  # one of them is there already
            return sum([await self.record(event) for event in events])
        return len(changes)

    async def _handle_past(self, alert: Alert, event: Event, version: int | None) -> Alert:
        _check_version(alert, version)
        after, entries = step(alert, event, self._now())
        if after is None or not entries:
            return alert
        await asyncio.to_thread(self._store.save, [(after, entries)])
        if self.get(after.key) is None:
            self._remember(after)
        self._tell([after])
        return after

    async def _apply(self, events: Sequence[tuple[Key, Event]]) -> list[Alert]:
        changes = self._steps(events)
        if not changes:
            return []
        try:
            await asyncio.to_thread(self._store.save, changes)
        except VersionMismatch:
            # another process, or this one just before it died: what is stored counts
            for key in {key for key, _ in events}:
                stored = await asyncio.to_thread(self._store.latest, key)
                if stored is not None:
                    self._remember(stored)
            changes = self._steps(events)
            if changes:
                await asyncio.to_thread(self._store.save, changes)
        for alert, _ in changes:
            self._remember(alert)
        latest = list({alert.id: alert for alert, _ in changes}.values())
        self._tell(latest)
        return latest

    def _steps(self, events: Sequence[tuple[Key, Event]]) -> list[tuple[Alert, tuple[Entry, ...]]]:
        now_ms = self._now()
        stepped: dict[Key, Alert | None] = {}
        changes = []
        for key, event in events:
            before = stepped.get(key) or self.get(key)
            alert, entries = step(before, event, now_ms)
            stepped[key] = alert
            if alert is not None and entries:
                changes.append((alert, entries))
        return changes

    def _remember(self, alert: Alert) -> None:
        self._alerts.setdefault(alert.key.site, {})[alert.key] = alert

    def _tell(self, alerts: Iterable[Alert]) -> None:
        for alert in alerts:
            for listener in self._listeners:
                listener(alert)


def _check_version(alert: Alert, version: int | None) -> None:
    if version is not None and version != alert.version:
        raise VersionMismatch(f"The alert is at version {alert.version}, not {version}.")
