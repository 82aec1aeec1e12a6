from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.services import unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Page

    from tests.e2e.conftest import Stack

# Without these, Chromium looks for its maker's servers at every start.
QUIET = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-gpu",
    "--no-sandbox",
)


@pytest.fixture(scope="module")
def page(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A page of a real browser, logged in as the admin."""
    chromium = shutil.which("chromium")
    if chromium is None:
        unavailable("Chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(QUIET))
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.goto(stack.airflow.url)
        page.get_by_role("textbox").first.wait_for()
        page.locator("input[name=username]").fill("admin")
        page.locator("input[name=password]").fill(stack.airflow.password)
        page.locator("[type=submit]").click()
        page.wait_for_url(f"{stack.airflow.url}/**")
        yield page
        page.screenshot(path=tmp_path_factory.mktemp("shots") / "last.png")
        browser.close()


def test_a_person_finds_the_example_reports(page: Page, stack: Stack) -> None:
    page.goto(f"{stack.airflow.url}/dags?tags=openreg&limit=50")
    for report in ("positions_return", "mifir_transactions"):
        expect(page.locator(f"a[href$='/dags/{report}']").first).to_be_visible(timeout=30_000)


def test_a_broken_spec_shows_its_error_and_line(page: Page, stack: Stack, tmp_path: Path) -> None:
    page.goto(f"{stack.airflow.url}/dags/broken_spec/details")
    expect(page.get_by_text("spec has errors").first).to_be_visible(timeout=30_000)
    page.get_by_role("button", name="Dag Docs").click()
    expect(page.get_by_text("artefacts: unknown key").first).to_be_visible()


def test_a_person_triggers_a_report_for_a_business_date(page: Page, stack: Stack) -> None:
    page.goto(f"{stack.airflow.url}/dags/right")
    page.get_by_role("button", name="Trigger").first.click()
    expect(page.get_by_text("Business date").first).to_be_visible(timeout=30_000)
