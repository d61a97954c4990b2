import pytest
from starlette.requests import Request

from cloud.api.acting import actor_of
from cloud.api.problems import Problem


def request(actor: str | None = None) -> Request:
    state = {} if actor is None else {"actor": actor}
    return Request({"type": "http", "state": state})


def test_whom_the_body_names_acts_until_somebody_is_signed_in() -> None:
    assert actor_of(request(), " li.wei ") == "li.wei"
    assert actor_of(request("wang.fang"), "li.wei") == "wang.fang"


@pytest.mark.parametrize("name", [None, "", "  ", "x" * 101])
def test_nobody_changes_anything_without_a_name(name: str | None) -> None:
    with pytest.raises(Problem) as refusal:
        actor_of(request(), name)

    assert (refusal.value.status, refusal.value.errors[0]["pointer"]) == (422, "/body/actor")
