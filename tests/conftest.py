"""What all tests share: golden files, the browser, and how hypothesis searches."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from playwright.sync_api import Browser, sync_playwright

from tests.command import Operator

GOLDEN = Path(__file__).parent / "golden"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")

# The same cases at every run, so that a red build is red again; look further with `--hypothesis-profile explore`.
settings.register_profile("house", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=2000)
settings.load_profile("house")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update", action="store_true", help="rewrite the golden files instead of comparing with them")


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    """Somebody with an empty home, who runs the console script."""
    return Operator(tmp_path)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a text with ``tests/golden/<name>``, to the last line ending."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="")
        if not path.exists():
            pytest.fail(f"{path} does not exist; `pytest --update` writes it")
        with path.open(encoding="utf-8", newline="") as file:
            assert text == file.read(), f"{path.name} differs; look, then `pytest --update`"

    return compare


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium, without a window. Ends with its module: a running browser keeps an event loop open."""
    if os.environ.get("KMS_ROTATION_NO_BROWSER") == "1":
        pytest.skip("KMS_ROTATION_NO_BROWSER=1")
    chromium = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if chromium is None:
        pytest.fail(f"none of {', '.join(CHROMIUM)} is here; KMS_ROTATION_NO_BROWSER=1 leaves the browser tests out")
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium refuses to start as root with it
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=sandbox)
        yield browser
        browser.close()
