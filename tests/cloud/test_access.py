"""Who may do what: roles, locks, sessions, keys, the record of changes. The door itself, on a real database."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from cloud.access.audit import entries, first_broken
from cloud.access.door import Door, TooManyTries, WrongPassword
from cloud.access.lockout import ENTRIES_MAX, FORGOTTEN_MS, FREE_TRIES, WAIT_MS_MAX, Lockout
from cloud.access.rights import Act, Grant, Principal, Role, may, visible
from cloud.access.sessions import IDLE_MS, SESSION_MS
from cloud.access.users import NameTaken, UnknownUser, WeakPassword
from cloud.api.rights_of_routes import Need, need_of
from cloud.facts.database import open_database, reading

NOW_MS = 1_780_000_000_000
PASSWORD = "correct horse battery"
ADDRESS = "192.0.2.1"
TABLE = {
    Role.VIEWER: {Act.SEE},
    Role.ENGINEER: {Act.SEE, Act.HANDLE},
    Role.MANAGER: {Act.SEE, Act.HANDLE, Act.DIRECT, Act.INSPECT, Act.CHANNELS},
    Role.AUDITOR: {Act.SEE, Act.INSPECT},
    Role.ADMIN: set(Act),
}


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    engine = open_database(tmp_path / "facts.sqlite")
    yield Door(engine)
    engine.dispose()


def engineer(door: Door, *grants: Grant) -> str:
    user = door.users.add("lin", grants or (Grant(Role.ENGINEER, "a"),), actor="cli", now_ms=NOW_MS)
    door.users.set_password(user.id, PASSWORD, actor="cli", now_ms=NOW_MS)
    return user.id


@pytest.mark.parametrize(("role", "act"), list(product(Role, Act)))
def test_a_role_at_one_site_gives_its_rights_there_and_nowhere_else(role: Role, act: Act) -> None:
    who = Principal("u", "u", (Grant(role, "a"),))

    assert may(who, act, "a") is (act in TABLE[role])
    # an auditor is one at every site, whatever was written down
    assert may(who, act, "b") is may(who, act, None) is (role is Role.AUDITOR and act in TABLE[role])


def test_rights_only_add_up() -> None:
    who = Principal("u", "u", (Grant(Role.VIEWER), Grant(Role.MANAGER, "b")))

    assert visible(who, ["a", "b", "c"]) == ["a", "b", "c"]
    assert (may(who, Act.HANDLE, "a"), may(who, Act.HANDLE, "b")) == (False, True)
    assert visible(Principal("u", "u", ()), ["a"]) == []


@pytest.mark.parametrize(
    ("method", "path", "need"),
    [
        ("GET", "/", None),
        ("GET", "/static/app/main.js", None),
        ("POST", "/api/v1/gateways/gw-1/frames", None),
        ("POST", "/api/v1/session", None),
        ("GET", "/api/v1/sites/a/snapshot", Need(Act.SEE, "a")),
        ("POST", "/api/v1/sites/a/windows", Need(Act.DIRECT, "a")),
        ("GET", "/api/v1/sites", Need(Act.SEE, filters=True)),
        ("GET", "/api/v1/alerts", Need(Act.SEE, by_site=True)),
        ("POST", "/api/v1/alerts/al_1/acknowledgement", Need(Act.HANDLE, thing=("alert", "al_1"))),
        ("POST", "/api/v1/alerts", Need(Act.ADMINISTER)),
        ("GET", "/api/v1/alerts/causes", Need(Act.SEE, filters=True)),
        ("POST", "/api/v1/alerts/bulk", Need(Act.HANDLE, filters=True)),
        ("POST", "/api/v1/alerts/al_1/assignment", Need(Act.DIRECT, thing=("alert", "al_1"))),
        ("GET", "/api/v1/rectification/export", Need(Act.SEE, by_site=True)),
        ("POST", "/api/v1/rectification", Need(Act.HANDLE, filters=True)),
        ("PATCH", "/api/v1/rectification/ri_1", Need(Act.HANDLE, thing=("rectification", "ri_1"))),
        ("GET", "/api/v1/audit", Need(Act.INSPECT)),
        ("GET", "/api/v1/users", Need(Act.ADMINISTER)),
        ("GET", "/api/v1/route-of-tomorrow", Need(Act.SEE)),
        ("POST", "/api/v1/route-of-tomorrow", Need(Act.ADMINISTER)),
        ("GET", "/metrics", Need(Act.SEE)),
    ],
)
def test_every_request_needs_something_and_what_nobody_wrote_down_needs_most(
    method: str, path: str, need: Need | None
) -> None:
    assert need_of(method, path) == need


def test_a_password_lets_in_and_a_wrong_one_does_not_say_what_was_wrong(door: Door) -> None:
    engineer(door)
    user, token = door.sign_in("lin", PASSWORD, ADDRESS, NOW_MS)

    assert door.who(token, None, NOW_MS) == user.principal
    messages = []
    for name, password in (("lin", "another password"), ("nobody", PASSWORD)):
        with pytest.raises(WrongPassword) as refused:
            door.sign_in(name, password, ADDRESS, NOW_MS)
        messages.append(str(refused.value))
    assert messages[0] == messages[1]


def test_wrong_passwords_make_one_wait_longer_and_longer_but_only_from_there(door: Door) -> None:
    engineer(door)
    for _ in range(FREE_TRIES):
        with pytest.raises(WrongPassword):
            door.sign_in("lin", "wrong password", ADDRESS, NOW_MS)

    with pytest.raises(TooManyTries) as early:
        door.sign_in("lin", PASSWORD, ADDRESS, NOW_MS)
    assert early.value.wait_ms == 1_000
    assert door.sign_in("lin", PASSWORD, "192.0.2.2", NOW_MS)
    assert door.sign_in("lin", PASSWORD, ADDRESS, NOW_MS + 1_000)


def test_waiting_has_an_end_and_memory_a_bound() -> None:
    lockout = Lockout()
    for _ in range(40):
        lockout.failed("lin", ADDRESS, NOW_MS)
    for number in range(ENTRIES_MAX):
        lockout.failed(f"user-{number}", ADDRESS, NOW_MS)

    assert lockout.wait_ms("lin", ADDRESS, NOW_MS) == 0  # the oldest went first
    for _ in range(40):
        lockout.failed("lin", ADDRESS, NOW_MS)
    assert lockout.wait_ms("lin", ADDRESS, NOW_MS) == WAIT_MS_MAX
    assert lockout.wait_ms("lin", ADDRESS, NOW_MS + FORGOTTEN_MS) == 0


def test_a_session_ends_when_it_is_not_used_and_at_the_latest_after_a_week(door: Door) -> None:
    engineer(door)
    _, idle = door.sign_in("lin", PASSWORD, ADDRESS, NOW_MS)
    _, used = door.sign_in("lin", PASSWORD, ADDRESS, NOW_MS)

    step_ms = IDLE_MS - 1
    now_ms = NOW_MS
    while now_ms + step_ms < NOW_MS + SESSION_MS:
        now_ms += step_ms
        assert door.who(used, None, now_ms) is not None
    assert door.who(idle, None, NOW_MS + IDLE_MS) is None
    assert door.who(used, None, NOW_MS + SESSION_MS) is None


@pytest.mark.parametrize("what", ["sign out", "disable", "password"])
def test_a_session_is_over_at_once(door: Door, what: str) -> None:
    user = engineer(door)
    _, token = door.sign_in("lin", PASSWORD, ADDRESS, NOW_MS)
    match what:
        case "sign out":
            door.sessions.end(token)
        case "disable":
            door.users.disable(user, actor="cli", now_ms=NOW_MS)
        case _:
            door.users.set_password(user, "another password", actor="lin", now_ms=NOW_MS)

    assert door.who(token, None, NOW_MS) is None


def test_a_link_works_once_and_not_for_ever(door: Door) -> None:
    user = engineer(door)
    first, old = (door.sessions.make_link(user, actor="cli", now_ms=NOW_MS) for _ in range(2))

    assert door.sessions.use_link(first, NOW_MS) is not None
    assert door.sessions.use_link(first, NOW_MS) is None
    assert door.sessions.use_link(old, NOW_MS + 25 * 3_600_000) is None


def test_rights_that_are_taken_away_are_gone_with_the_next_request(door: Door) -> None:
    user = engineer(door)
    _, token = door.sign_in("lin", PASSWORD, ADDRESS, NOW_MS)
    door.users.set_grants(user, [Grant(Role.VIEWER, "b")], actor="cli", now_ms=NOW_MS)

    who = door.who(token, None, NOW_MS)
    assert who is not None
    assert who.grants == (Grant(Role.VIEWER, "b"),)


def test_a_key_opens_until_it_expires_or_is_revoked_and_two_can_be_valid(door: Door) -> None:
    grants = [Grant(Role.VIEWER, "a")]
    _, first = door.keys.add("export", grants, actor="cli", now_ms=NOW_MS, expires_ms=NOW_MS + 1000)
    key, second = door.keys.add("export", grants, actor="cli", now_ms=NOW_MS)

    assert [door.who(None, shown, NOW_MS) is not None for shown in (first, second)] == [True, True]
    assert door.who(None, first, NOW_MS + 1000) is None
    assert door.keys.revoke(key.id, actor="cli", now_ms=NOW_MS)
    assert door.who(None, second, NOW_MS) is None
    assert door.who(None, second[:-1] + ("a" if second[-1] != "a" else "b"), NOW_MS) is None


def test_nothing_that_opens_is_kept_as_it_is_shown(door: Door, tmp_path: Path) -> None:
    user = engineer(door)
    _, session = door.sign_in("lin", PASSWORD, ADDRESS, NOW_MS)
    _, key = door.keys.add("export", [Grant(Role.VIEWER)], actor="cli", now_ms=NOW_MS)
    link = door.sessions.make_link(user, actor="cli", now_ms=NOW_MS)
    door.engine.dispose()
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())

    assert [secret for secret in (PASSWORD, session, key.split("_")[2], link) if secret.encode() in kept] == []


@pytest.mark.parametrize("password", ["short", "x" * 201])
def test_a_weak_password_and_a_name_that_is_taken_are_refused(door: Door, password: str) -> None:
    user = engineer(door)
    with pytest.raises(WeakPassword):
        door.users.set_password(user, password, actor="lin", now_ms=NOW_MS)
    with pytest.raises(NameTaken):
        door.users.add("lin", [], actor="cli", now_ms=NOW_MS)
    with pytest.raises(UnknownUser):
        door.users.find("nobody")


def test_every_change_is_written_down_and_a_forged_entry_is_found(door: Door) -> None:
    user = engineer(door)
    door.users.set_grants(user, [Grant(Role.ADMIN)], actor="mei", now_ms=NOW_MS)
    with reading(door.engine) as connection:
        chain = list(entries(connection))

    assert [(entry.actor, entry.act) for entry in chain] == [
        ("cli", "user.add"), ("cli", "user.password"), ("mei", "user.grants"),
    ]  # fmt: skip
    assert first_broken(chain) is None
    forged = [chain[0], replace(chain[1], actor="somebody"), chain[2]]
    assert first_broken(forged) == forged[1]
    assert first_broken([chain[0], chain[2]]) == chain[2]
