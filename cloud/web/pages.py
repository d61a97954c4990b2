"""The page's files over HTTP: index with import map, hashed immutable files, word catalogues, security headers."""

import base64
import hashlib
import json
import mimetypes
import re
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

from fastapi import APIRouter, HTTPException, Request, Response

from devices.words import LANGUAGES, WORDS_FOLDER

HASH_CHARACTERS = 12
IMMUTABLE = "public, max-age=31536000, immutable"
REVALIDATE = "no-cache"
IMPORT_MAP_MARK = "<!-- import map -->"
VENDOR_AND_APP = re.compile(r"^(app|vendor)/.*\.js$")
CLASSIC_SCRIPTS = frozenset({"app/theme.js"})
"""Run before the first paint, therefore not modules and not in the import map."""

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


@dataclass(frozen=True)
class Asset:
    """One file as it is answered: its bytes, its kind and the hash that names this version of it."""

    path: str
    body: bytes
    media_type: str

    @property
    def version(self) -> str:
        """First 12 hexadecimal digits of the SHA-256 of the bytes."""
        return hashlib.sha256(self.body).hexdigest()[:HASH_CHARACTERS]

    @property
    def hashed_path(self) -> str:
        """The address under which a browser may keep this file for ever."""
        return f"{self.path}?v={self.version}"


def content_security_policy(inline_script: str) -> str:
    """Nothing from elsewhere; the one inline script allowed is the import map with exactly this text."""
    digest = base64.b64encode(hashlib.sha256(inline_script.encode()).digest()).decode()
    return "; ".join(
        (
            "default-src 'self'",
            f"script-src 'self' 'sha256-{digest}'",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "connect-src 'self'",
            "object-src 'none'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
            "form-action 'self'",
        )
    )


def static_routes() -> APIRouter:
    """Routes for `/`, `/s/{site}`, `/sign-in`, `/static/...` and `/i18n/{language}.json`; files are read once, here."""
    assets = _static_assets() | _catalogues()
    index, policy = _index(assets)
    router = APIRouter(include_in_schema=False)

    def page(request: Request) -> Response:
        return _answer(request, index, REVALIDATE, {"Content-Security-Policy": policy})

    def file(request: Request) -> Response:
        asset = assets.get(request.url.path)
        if asset is None:
            raise HTTPException(404, f"There is no file {request.url.path}.")
        current = request.query_params.get("v") == asset.version
        return _answer(request, asset, IMMUTABLE if current else REVALIDATE, {})

    methods = ["GET", "HEAD"]
    router.add_api_route("/", page, methods=methods)
    router.add_api_route("/s/{site}", page, methods=methods)
    router.add_api_route("/sign-in", page, methods=methods)
    router.add_api_route("/static/{path:path}", file, methods=methods)
    router.add_api_route("/i18n/{name}", file, methods=methods)
    return router


def _answer(request: Request, asset: Asset, cache: str, extra: dict[str, str]) -> Response:
    etag = f'"{asset.version}"'
    headers = SECURITY_HEADERS | extra | {"Cache-Control": cache, "ETag": etag}
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(asset.body, media_type=asset.media_type, headers=headers)


def _static_assets() -> dict[str, Asset]:
    root = files("cloud.web") / "static"
    return {
        f"/static/{path}": Asset(f"/static/{path}", entry.read_bytes(), _media_type(path))
        for path, entry in _walk(root, "")
    }


def _walk(folder: Traversable, prefix: str) -> list[tuple[str, Traversable]]:
    found: list[tuple[str, Traversable]] = []
    for entry in sorted(folder.iterdir(), key=lambda item: item.name):
        path = f"{prefix}{entry.name}"
        if entry.is_dir():
            found.extend(_walk(entry, f"{path}/"))
        else:
            found.append((path, entry))
    return found


def _media_type(path: str) -> str:
    # Not from the machine's own table alone: some systems call JavaScript text/plain, which a module script refuses.
    if path.endswith(".js"):
        return "text/javascript"
    return mimetypes.guess_type(path)[0] or "application/octet-stream"


def _catalogues() -> dict[str, Asset]:
    return {
        f"/i18n/{language}.json": Asset(
            f"/i18n/{language}.json", (WORDS_FOLDER / f"{language}.json").read_bytes(), "application/json"
        )
        for language in LANGUAGES
    }


def _index(assets: dict[str, Asset]) -> tuple[Asset, str]:
    """The index with every address hashed, all modules mapped and preloaded; and the policy that permits just that."""
    html = assets["/static/index.html"].body.decode()
    modules = [
        asset
        for path, asset in assets.items()
        if VENDOR_AND_APP.match(path.removeprefix("/static/")) and path.removeprefix("/static/") not in CLASSIC_SCRIPTS
    ]
    import_map = json.dumps({"imports": {module.path: module.hashed_path for module in modules}})
    for path, asset in assets.items():
        html = re.sub(rf'(?<=["\']){re.escape(path)}(?=["\'])', asset.hashed_path, html)
    preloads = "\n".join(f'<link rel="modulepreload" href="{module.hashed_path}">' for module in modules)
    html = html.replace(IMPORT_MAP_MARK, f'<script type="importmap">{import_map}</script>\n{preloads}')
    return Asset("/", html.encode(), "text/html"), content_security_policy(import_map)
