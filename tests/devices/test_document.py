from collections.abc import Iterable
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from devices.document import DEPTH_MAX, Mistake, SecretText, Section, load_document, parse_document
from devices.errors import ConfigurationError


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Wheel(Section):
    id: str
    radius_m: float = 0.5
    secret: SecretText | None = None


class Cart(Section):
    name: str
    colour: Colour = Colour.RED
    wheels: tuple[Wheel, ...] = Field(default=(), min_length=1)
    labels: dict[int, str] = Field(default_factory=dict)

    def mistakes(self) -> Iterable[Mistake]:
        for index, wheel in enumerate(self.wheels):
            if wheel.id == "square":
                yield Mistake(("wheels", index, "id"), "a wheel is round", 2)


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        parse_document(text, "cart.yaml", Cart, environment={})
    return [str(problem) for problem in caught.value.problems]


def test_a_document_becomes_its_model() -> None:
    cart = parse_document(
        "name: c\ncolour: blue\nwheels: [{id: w, radius_m: 1}]\nlabels: {0: no, 0x1: 'on'}\n", "c", Cart
    )

    assert cart == Cart(name="c", colour=Colour.BLUE, wheels=(Wheel(id="w", radius_m=1.0),), labels=cart.labels)
    assert cart.labels[0] == "no"


def test_every_problem_is_named_at_once_with_its_place() -> None:
    found = problems("name: 5\ncolor: red\nwheels:\n  - {id: a, radius_m: wide}\n  - radius_m: 1.0\n")

    assert found == [
        "cart.yaml:1:7: name: 5: input should be a valid string",
        "cart.yaml:2:1: unknown key 'color': did you mean 'colour'?",
        "cart.yaml:4:23: wheels.0.radius_m: 'wide': input should be a valid number",
        "cart.yaml:5:5: the key 'id' is missing",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "cart.yaml:1:1: is empty"),
        ("name: a\nname: b\n", "cart.yaml:2:1: the key 'name' stands here twice"),
        ("name: [\n", "cart.yaml:2:1: not YAML"),
        ("name: a\n\tb: 1\n", "cart.yaml:2:1: not YAML"),
        ("name: !!python/object:os.system x\n", "cart.yaml:1:7: the tag"),
        ("name: a\n<<: {colour: red}\n", "cart.yaml:2:1: a key must be plain text"),
        ("name: .nan\n", "cart.yaml:1:7: '.nan' is not a finite number"),
        ("- 1\n", "cart.yaml:1:1: the document: a list: input should be an object"),
        ("name: a\nwheels: []\n", "cart.yaml:2:9: wheels: a list: tuple should have at least 1 item"),
        ("name: a\nzzz: 1\n", "cart.yaml:2:1: unknown key 'zzz': expected one of colour, labels, name, wheels"),
        ("name: a\ncolour: green\n", "cart.yaml:2:9: colour: 'green': input should be 'red' or 'blue'"),
        ("name: a\nwheels: [{id: square}]\n", "cart.yaml:2:17: a wheel is round"),
        ("name: a\nwheels: [{id: 'square'}]\n", "cart.yaml:2:18: a wheel is round"),
        ("name: a\n---\nname: b\n", "cart.yaml:2:1: not YAML"),
        ("name: \x01\n", "cart.yaml:1:1: not YAML"),
        ("name: a\nwheels: " + "[" * (DEPTH_MAX + 2) + "]" * (DEPTH_MAX + 2), "cart.yaml:2:49: nested deeper"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place(text: str, expected: str) -> None:
    assert problems(text)[0].startswith(expected)


def test_aliases_cannot_multiply_without_bound() -> None:
    levels = "\n".join(f"k{n}: &k{n} [{', '.join([f'*k{n - 1}'] * 10)}]" for n in range(1, 9))

    assert "more than 500000 values" in problems(f"k0: &k0 [x]\n{levels}\n")[0]


def test_a_secret_comes_from_the_environment_or_a_file_and_never_prints(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("tops3cret\n")
    text = 'name: a\nwheels: [{id: a, secret: "${BROKER_PASSWORD}"}, {id: b, secret: "file:password"}]\n'

    cart = parse_document(text, "c", Cart, folder=tmp_path, environment={"BROKER_PASSWORD": "hush"})

    assert [wheel.secret.reveal() for wheel in cart.wheels if wheel.secret] == ["hush", "tops3cret"]
    assert "hush" not in f"{cart!r} {cart} {cart.model_dump()} {cart.model_dump_json()}"


def test_a_secret_that_cannot_be_had_is_a_problem_with_a_place() -> None:
    found = problems('name: a\nwheels: [{id: a, secret: "${NOT_SET}"}, {id: b, secret: "file:nowhere"}]\n')

    assert found[0] == "cart.yaml:2:26: wheels.0.secret: the environment variable NOT_SET is not set"
    assert found[1].startswith("cart.yaml:2:57: wheels.1.secret: the secret file nowhere cannot be read")


def test_a_problem_with_a_secret_does_not_show_it() -> None:
    assert "12345" not in problems("name: a\nwheels: [{id: a, secret: 12345}]\n")[0]


def test_a_missing_file_and_foreign_bytes_are_problems_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "bytes.yaml").write_bytes(b"name: a\ncolour: \xff\n")

    with pytest.raises(ConfigurationError, match=r"none\.yaml: cannot be read: No such file"):
        load_document(tmp_path / "none.yaml", Cart)
    with pytest.raises(ConfigurationError, match=r"bytes\.yaml:2:1: is not UTF-8 text"):
        load_document(tmp_path / "bytes.yaml", Cart)


@given(st.text(max_size=200))
def test_no_text_makes_the_reader_fail_otherwise(text: str) -> None:
    with suppress(ConfigurationError):
        parse_document(text, "any.yaml", Cart, environment={})
