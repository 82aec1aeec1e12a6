from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.services import unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

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
def page(stack: Stack) -> Iterator[Page]:
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
        browser.close()


def test_a_person_finds_the_example_reports(page: Page, stack: Stack) -> None:
    page.goto(f"{stack.airflow.url}/dags?tags=openreg&limit=50")
    for report in ("positions_return", "mifir_transactions"):
        expect(page.locator(f"a[href$='/dags/{report}']").first).to_be_visible(timeout=30_000)


def test_a_broken_spec_shows_its_error_and_line(page: Page, stack: Stack) -> None:
    page.goto(f"{stack.airflow.url}/dags/broken_spec/details")
    expect(page.get_by_text("spec has errors").first).to_be_visible(timeout=30_000)
    page.get_by_role("button", name="Dag Docs").click()
    expect(page.get_by_text("artefacts: unknown key").first).to_be_visible()


def test_a_person_triggers_a_report_for_a_business_date(page: Page, stack: Stack) -> None:
    page.goto(f"{stack.airflow.url}/dags/right")
    page.get_by_role("button", name="Trigger").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("Business date")).to_be_visible(timeout=30_000)
    dialog.locator("input[type=date]").fill("2026-09-30")
    before = stack.client.runs("right")
    dialog.get_by_role("button", name="Trigger").click()
    expect(dialog).to_be_hidden(timeout=30_000)
    (run_id,) = set(stack.client.runs("right")) - set(before)
    outcome = stack.finish("right", run_id)
    assert outcome.proven
    assert outcome.artifacts[0].files[0].filename == "right_20260930.csv"
    page.goto(f"{stack.airflow.url}/dags/right/runs/{run_id}")
    expect(page.get_by_text("Success").first).to_be_visible(timeout=30_000)
