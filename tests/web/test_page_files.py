"""What holds for the page's files themselves, without a browser."""

import hashlib
import json
import re
from pathlib import Path

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient

from cloud.web.pages import static_routes
from devices.words import LANGUAGES, catalogue, placeholders

STATIC = Path(__file__).parents[2] / "cloud" / "web" / "static"
VENDOR = STATIC / "vendor"
MODULES = sorted((STATIC / "app").glob("*.js"))
LINES_MAX = 300
CONTRAST_MIN = 4.5


@pytest.fixture
def client() -> AsyncClient:
    app = FastAPI()
    app.include_router(static_routes())
    return AsyncClient(transport=ASGITransport(app), base_url="http://gatehouse.test")


def test_vendored_files_have_the_hashes_of_the_manifest() -> None:
    manifest = json.loads((VENDOR / "MANIFEST.json").read_text())
    listed = {entry["file"]: entry for entry in manifest["files"]}

    assert set(listed) == {path.name for path in VENDOR.glob("*.js")}
    for name, entry in listed.items():
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == entry["sha256"]
        assert entry["made"]
        for package in entry["packages"]:
            assert package["version"]
            assert package["licence"]
            assert (VENDOR / package["text"]).read_text().strip()


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_a_module_is_short_and_type_checked(module: Path) -> None:
    lines = module.read_text().splitlines()

    assert lines[0] == "// @ts-check"
    assert len(lines) <= LINES_MAX


def test_every_word_the_page_names_is_in_the_catalogues() -> None:
    source = "\n".join(module.read_text() for module in MODULES)
    named = set(re.findall(r'["`](page\.[a-zA-Z_.-]+)["`]', source))
    prefixes = set(re.findall(r"`((?:page|state)\.[a-z_.]+\.)\$\{", source))

    for language in LANGUAGES:
        words = catalogue(language)
        assert named - set(words) == set()
        for prefix in prefixes:
            assert any(key.startswith(prefix) for key in words), prefix


def test_no_word_of_the_page_lies_unused() -> None:
    source = "\n".join(module.read_text() for module in MODULES)
    named = set(re.findall(r'["`](page\.[a-zA-Z_.-]+)["`]', source))
    prefixes = tuple(re.findall(r"`(page\.[a-z_.]+\.)\$\{", source))
    ours = {key for key in catalogue("en") if key.startswith("page.")}

    assert {key for key in ours - named if not key.startswith(prefixes)} == set()


def test_both_languages_have_the_same_words_and_placeholders() -> None:
    english, chinese = catalogue("en"), catalogue("zh-CN")

    assert set(english) == set(chinese)
    for key, text in english.items():
        assert placeholders(text) == placeholders(chinese[key]), key


def _luminance(colour: str) -> float:
    digits = colour.removeprefix("#")
    if len(digits) == 3:
        digits = "".join(digit * 2 for digit in digits)
    parts = [int(digits[start : start + 2], 16) / 255 for start in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(theme: int) -> None:
    block = (STATIC / "css" / "tokens.css").read_text().split(":root")[theme + 1].split("}")[0]
    tokens = dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{3,6})", block))
    pairs = [(tone, f"{tone}-tint") for tone in ("ok", "red", "orange", "yellow", "grey")]
    pairs += [("ink", "page"), ("ink", "card"), ("ink", "soft"), ("muted", "card"), ("muted", "floor")]
    pairs += [("brand", "card"), ("on-brand", "brand"), ("red", "card")]

    for text, behind in pairs:
        bright, dark = sorted((_luminance(tokens[text]), _luminance(tokens[behind])), reverse=True)
        assert (bright + 0.05) / (dark + 0.05) >= CONTRAST_MIN, (text, behind)


async def test_the_index_is_fresh_and_everything_it_names_may_be_kept(client: AsyncClient) -> None:
    index = await client.get("/s/anywhere")
    named = re.findall(r'(?:src|href|content)="(/(?:static|i18n)/[^"]+)"', index.text)

    assert index.headers["cache-control"] == "no-cache"
    assert len(named) > 20
    for address in named:
        answer = await client.get(address)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"], address


async def test_a_file_under_another_hash_is_not_kept(client: AsyncClient) -> None:
    assert (await client.get("/static/app/main.js?v=000000000000")).headers["cache-control"] == "no-cache"


async def test_an_unchanged_file_is_not_sent_again(client: AsyncClient) -> None:
    etag = (await client.get("/static/app/main.js")).headers["etag"]

    assert (await client.get("/static/app/main.js", headers={"If-None-Match": etag})).status_code == 304


@pytest.mark.parametrize("path", ["/static/none.js", "/static/../pages.py", "/static/%2e%2e/pages.py", "/i18n/fr.json"])
async def test_what_is_not_a_file_of_the_page_is_not_found(client: AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 404


async def test_the_policy_allows_one_inline_script_and_nothing_from_elsewhere(client: AsyncClient) -> None:
    answer = await client.get("/")
    policy = answer.headers["content-security-policy"]
    inline = re.findall(r"<script(?![^>]*src)[^>]*>(.+?)</script>", answer.text, re.DOTALL)

    assert len(inline) == 1
    assert json.loads(inline[0])["imports"]
    assert "'unsafe-inline'" not in policy.split("style-src")[0]
    assert "unsafe-eval" not in policy
    assert "http" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
