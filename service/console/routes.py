"""The web console at `/`, the page about the API at `/docs`, and the files of both."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

STATIC = Path(__file__).parent / "static"

HEADERS = {
    # Nothing but what this server sends: no inline script or style, no other origin. `blob:` are
    # the pictures that a person drops; without trusted types no text can become markup either.
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    # Kept, but asked about every time: modules of two releases must never meet.
    "Cache-Control": "no-cache",
}


def console_router() -> APIRouter:
    """The routes of the console; they answer whether or not the engine is ready."""
    router = APIRouter(include_in_schema=False)
    files = StaticFiles(directory=STATIC, check_dir=False)
    pages = {"/": "index.html", "/docs": "docs.html"}

    async def answer(request: Request, name: str) -> Response:
        response = await files.get_response(name, request.scope)
        response.headers.update(HEADERS)
        return response

    async def page(request: Request) -> Response:
        return await answer(request, pages[request.url.path])

    async def file(request: Request, name: str) -> Response:
        return await answer(request, name)

    for path in pages:
        router.add_api_route(path, page, methods=["GET", "HEAD"], response_class=Response)
    router.add_api_route(
        "/console/{name:path}", file, methods=["GET", "HEAD"], response_class=Response
    )
    return router
