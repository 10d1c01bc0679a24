"""Headless Chromium: what a page does when somebody opens it from disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

EXECUTABLE: Final = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
needs_chromium = pytest.mark.skipif(EXECUTABLE is None, reason="Chromium is not installed")
_FLAGS: Final = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@dataclass
class Opened:
    """A page, what its console said against it, and the addresses it asked for."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for all tests of a file."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=EXECUTABLE, chromium_sandbox=False, args=list(_FLAGS)
        )
        yield started
        started.close()


def opened(browser: Browser, path: Path) -> Opened:
    """A file opened from disk, until it is loaded."""
    found = Opened(browser.new_page())
    found.page.on("pageerror", lambda error: found.complaints.append(str(error)))
    found.page.on(
        "console",
        lambda said: found.complaints.append(said.text) if said.type in {"error", "warning"} else None,
    )
    found.page.on("request", lambda request: found.requests.append(request.url))
    found.page.goto(path.resolve().as_uri())
    return found
