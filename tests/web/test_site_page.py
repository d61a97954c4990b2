"""The page of a site in a real browser, over a stand-in cloud that can be made to fail."""

from typing import Any
from urllib.parse import urlparse

import pytest
from playwright.sync_api import Page, expect

from tests.web.conftest import PageServer, wait_live
from tests.web.site_server import Stage

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

SITE_PAGE_BYTES_MAX = 320_000
BADGE = "[data-testid=live-badge]"


def space(page: Page, name: str) -> Any:
    return page.locator(f"rect.space[data-id='{name}']")


def other_state(stage: Stage, name: str) -> str:
    return "free" if stage.site.spaces[name]["state"] == "occupied" else "occupied"


def test_loading_asks_no_other_host_and_says_nothing_in_the_console(page: Page, server: PageServer) -> None:
    said: list[str] = []
    hosts: set[str | None] = set()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: hosts.add(urlparse(request.url).hostname))
    page.goto(f"{server.url}/s/jinji-lake")
    wait_live(page)
    page.wait_for_selector("[data-testid=chart-occupancy]")

    assert said == []
    assert {host for host in hosts if host} == {"127.0.0.1"}


def test_a_cold_site_page_stays_light(page: Page, server: PageServer) -> None:
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    received: list[float] = []
    session.on("Network.loadingFinished", lambda event: received.append(event["encodedDataLength"]))
    page.goto(f"{server.url}/s/jinji-lake")
    page.wait_for_selector("[data-testid=chart-occupancy]")

    assert len(received) > 20
    assert sum(received) < SITE_PAGE_BYTES_MAX


def test_percentages_are_cut_and_never_rounded_into_success(live: Page) -> None:
    cut = live.evaluate(
        """async () => {
          const { cutPercent } = await import("/static/app/numbers.js");
          return [cutPercent(0.9795), cutPercent(0.97999), cutPercent(0.979, {numerator: 979, denominator: 1000}),
                  cutPercent(0.98), cutPercent(1), cutPercent(0.9999999, {numerator: 9999999, denominator: 10000000})];
        }"""
    )

    assert cut == ["97.9", "97.9", "97.9", "98.0", "100.0", "99.9"]


def test_a_card_shows_value_bounds_counts_and_verdict(live: Page) -> None:
    card = live.get_by_test_id("card-equipment.intact_rate")

    expect(card.get_by_test_id("value")).to_contain_text("97.9%")
    expect(card.get_by_test_id("bounds")).to_have_text("97.1–98.0 %")
    expect(card.get_by_test_id("counts")).to_have_text("2,820 of 2,880 h")
    expect(card.get_by_test_id("verdict")).to_have_attribute("data-verdict", "INDETERMINATE")
    expect(card.get_by_test_id("age")).to_be_visible()


def test_without_data_a_card_says_so_and_shows_neither_zero_nor_green(
    page: Page, stage: Stage, server: PageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = stage.site.indicators()
    nothing = {"value": None, "low": None, "high": None, "numerator": 0, "denominator": 0, "verdict": "INDETERMINATE"}
    monkeypatch.setattr(stage.site, "indicators", lambda: [known[0] | nothing])
    page.goto(f"{server.url}/s/jinji-lake")
    wait_live(page)

    for name in ("equipment.intact_rate", "robot.coverage"):
        card = page.get_by_test_id(f"card-{name}")
        expect(card.get_by_test_id("value")).to_have_text("No data")
        expect(card.locator(".tag.ok")).to_have_count(0)


def test_a_bound_that_nobody_knows_is_not_made_up(
    page: Page, stage: Stage, server: PageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = stage.site.indicators()
    monkeypatch.setattr(stage.site, "indicators", lambda: [known[1] | {"value": 0.15, "low": 0.147, "high": None}])
    page.goto(f"{server.url}/s/jinji-lake")

    expect(page.get_by_test_id("card-robot.coverage").get_by_test_id("bounds")).to_have_text("at least 14.7 %")


def test_a_delta_changes_that_space_without_a_new_snapshot(live: Page, stage: Stage, server: PageServer) -> None:
    wanted = other_state(stage, "b1-017")
    server.run(lambda: stage.tell(stage.site.park("b1-017", wanted)))

    expect(space(live, "b1-017")).to_have_attribute("data-state", wanted)
    assert stage.snapshots == 1


def test_a_robot_moves_and_its_cells_are_covered(live: Page, stage: Stage, server: PageServer) -> None:
    robot = live.locator("[data-testid=robot][data-id=r1]")
    before = robot.get_attribute("transform")
    stage.site.robots[0]["x"] += 20
    parts = {"robots": [stage.site.robots[0]], "coverage": {"b1": [[1, 4], [2, 1]]}}
    server.run(lambda: stage.tell(parts))

    expect(robot).not_to_have_attribute("transform", before or "")
    expect(live.get_by_test_id("coverage")).to_have_attribute("data-cells", str(len({*stage.site.passes, 1, 2})))


def test_the_first_covered_cells_of_a_floor_appear(
    page: Page, stage: Stage, server: PageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = stage.site.snapshot()
    monkeypatch.setattr(stage.site, "snapshot", lambda: whole | {"coverage": {}})
    page.goto(f"{server.url}/s/jinji-lake")
    wait_live(page)
    expect(page.get_by_test_id("coverage")).to_have_count(0)
    monkeypatch.undo()
    server.run(lambda: stage.tell({"coverage": {"b1": [[1, 4]]}}))

    expect(page.get_by_test_id("coverage")).to_have_count(1)


def test_a_skipped_number_loads_exactly_one_snapshot(live: Page, stage: Stage, server: PageServer) -> None:
    wanted = other_state(stage, "b1-020")

    def skip() -> None:
        stage.site.park("b1-020", wanted)
        stage.site.seq += 1
        stage.tell({})

    server.run(skip)

    expect(space(live, "b1-020")).to_have_attribute("data-state", wanted)
    wait_live(live)
    assert stage.snapshots == 2


def test_a_resync_loads_exactly_one_snapshot(live: Page, stage: Stage, server: PageServer) -> None:
    wanted = other_state(stage, "b1-021")
    stage.site.park("b1-021", wanted)
    server.run(lambda: stage.send("resync", {}))

    expect(space(live, "b1-021")).to_have_attribute("data-state", wanted)
    assert stage.snapshots == 2


def test_when_the_server_dies_the_page_says_so_and_comes_back_by_itself(
    live: Page, stage: Stage, server: PageServer
) -> None:
    server.stop()
    expect(live.locator(BADGE)).to_have_attribute("data-state", "reconnecting")

    wanted = other_state(stage, "b1-030")
    stage.site.park("b1-030", wanted)
    stage.site.epoch = "0000beef"
    server.start()

    wait_live(live)
    expect(space(live, "b1-030")).to_have_attribute("data-state", wanted)


def test_a_server_that_answers_503_for_a_while_is_waited_for(live: Page, stage: Stage, server: PageServer) -> None:
    stage.refuse_status = 503
    server.run(stage.drop_streams)
    expect(live.locator(BADGE)).to_have_attribute("data-state", "reconnecting")

    stage.refuse_status = 0
    wait_live(live)
    wanted = other_state(stage, "b1-031")
    server.run(lambda: stage.tell(stage.site.park("b1-031", wanted)))
    expect(space(live, "b1-031")).to_have_attribute("data-state", wanted)


def test_after_twenty_silent_seconds_the_page_calls_itself_stale(page: Page, stage: Stage, server: PageServer) -> None:
    page.clock.install()
    page.goto(f"{server.url}/s/jinji-lake")
    wait_live(page)
    stage.refuse_status = 503
    page.clock.run_for(26_000)

    expect(page.locator(BADGE)).to_have_attribute("data-state", "stale")


def test_a_site_that_does_not_exist_is_named_as_such(page: Page, server: PageServer) -> None:
    page.goto(f"{server.url}/s/nowhere")

    expect(page.get_by_test_id("message-not-found")).to_be_visible()


def test_the_start_page_goes_to_the_only_site(page: Page, server: PageServer) -> None:
    page.goto(f"{server.url}/")
    page.wait_for_url("**/s/jinji-lake*")


def test_the_start_page_lists_several_sites(page: Page, stage: Stage, server: PageServer) -> None:
    stage.sites.append({"id": "west", "name": {"en": "West Garden", "zh-CN": "西园"}, "type": "residential"})
    page.goto(f"{server.url}/")

    expect(page.get_by_test_id("sites").get_by_role("link")).to_have_count(2)
