"""The pages in a real Chromium, from a real gateway and a real model service, as people meet them."""

import importlib
import math
import re
from pathlib import Path

import httpx2
import pytest

from common.iris_dto import FEATURES
from common.settings import ROOT

tools = importlib.import_module("tests.3_client_server.services.pages.page_tools")
gateway, troubled, browser, open_page = tools.gateway, tools.troubled, tools.browser, tools.open_page  # fixtures
PAGES = ["/", "/classify", "/explain", "/monitor"]
EXAMPLE = ROOT / "3_client_server" / "services" / "pages" / "static" / "example.csv"
XSS = '"><script>window.hacked=1</script><img src=x onerror="window.hacked=1">'


def fill(page, values):
    for name, value in zip(FEATURES, values, strict=True):
        page.fill(f"#{name}", value)


def submit(page, name):
    page.get_by_role("button", name=name, exact=True).click()


SETOSA = ["5.1", "3.5", "1.4", "0.2"]


# --- the pages ---


@pytest.mark.parametrize("path", PAGES)
def test_every_page_opens_in_a_language_with_one_heading(open_page, path):
    page = open_page(path)
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.locator("h1").count() == 1
    assert page.title()
    assert page.locator("main").is_visible()


@pytest.mark.parametrize("path", PAGES)
def test_every_page_forbids_what_comes_from_elsewhere_and_inline_code(gateway, path):
    answer = httpx2.get(gateway + path, headers={"Accept": "text/html"})
    assert answer.status_code == 200
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert not re.search(r"<style|\sstyle=|<script(?! src=\"/static/)|\son[a-z]+=|//(?!www\.w3\.org)", answer.text)


def test_the_home_page_leads_to_each_service(open_page):
    page = open_page("/")
    for name in ("Classify", "Explain", "Monitor"):
        page.goto("/")
        page.locator("main").get_by_role("link", name=name, exact=True).click()
        page.wait_for_url(f"**/{name.lower()}")
        assert page.locator("h1").inner_text() == name
        assert page.locator("nav [aria-current=page]").inner_text() == name


def test_programs_that_ask_for_json_get_json_at_the_same_address(gateway):
    assert httpx2.get(gateway, headers={"Accept": "application/json"}).json()


def test_classify_by_mouse(open_page):
    page = open_page("/classify")
    fill(page, SETOSA)
    submit(page, "Classify")
    assert page.locator("#answer").inner_text().strip() == "It is setosa"
    shares = [float(text.split()[0]) for text in page.locator(".bars .number").all_inner_texts()]
    assert sum(shares) == pytest.approx(100, abs=0.2)
    assert shares[0] > 90
    assert page.locator(".bar").count() == 3
    assert [page.input_value(f"#{name}") for name in FEATURES] == SETOSA


def test_classify_by_keyboard_alone_with_the_focus_always_visible(open_page):
    page = open_page("/classify")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    for value in SETOSA:
        page.keyboard.press("Tab")
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        page.keyboard.type(value)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "unit"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Classify"
    page.keyboard.press("Enter")
    assert page.locator("#answer").inner_text().strip() == "It is setosa"


def test_every_stop_of_the_tab_key_is_visible(open_page):
    page = open_page("/monitor")
    page.goto("/")
    for _ in range(page.locator("a").count()):
        page.keyboard.press("Tab")
        styles = page.evaluate("['', '::after'].map(p => getComputedStyle(document.activeElement, p).outlineStyle)")
        assert "solid" in styles


def test_everything_works_without_javascript(open_page):
    page = open_page("/classify", java_script_enabled=False)
    fill(page, SETOSA)
    submit(page, "Classify")
    assert page.locator("#answer").inner_text().strip() == "It is setosa"
    page.get_by_role("link", name="Why setosa?").click()
    page.wait_for_url("**/explain?*")
    assert page.locator("#answer").inner_text().strip() == "Why setosa and not versicolor?"
    page.goto("/classify")
    page.set_input_files("#file", EXAMPLE)
    submit(page, "Classify the file")
    assert page.locator("tbody tr").count() == 30
    page.goto("/monitor")
    before = int(page.locator("#requests").inner_text())
    page.get_by_role("link", name="Refresh").click()
    assert int(page.locator("#requests").inner_text()) >= before
    assert page.get_by_role("button").count() == 0


@pytest.mark.parametrize(("unit", "factor"), [("cm", 1), ("mm", 10), ("inches", 1 / 2.54)])
def test_units_do_not_change_the_answer(open_page, gateway, unit, factor):
    measurement = dict(zip(FEATURES, map(float, SETOSA), strict=True))
    chance = httpx2.post(gateway + "/iris-classifier", json=measurement).json()["probabilities"]["setosa"]
    page = open_page("/classify")
    fill(page, [f"{float(value) * factor:.6f}" for value in SETOSA])
    page.select_option("#unit", unit)
    submit(page, "Classify")
    assert page.locator("#answer").inner_text().strip() == "It is setosa"
    assert page.locator(".bars .number").first.inner_text() == f"{100 * chance:.1f} %"
    assert page.input_value("#unit") == unit


def test_what_is_far_outside_the_training_data_is_said(open_page):
    page = open_page("/classify")
    fill(page, ["5.1", "3.5", "40", "0.2"])
    submit(page, "Classify")
    assert "40 cm is far outside the training data" in page.locator(".notice.warn").inner_text()


def test_mistakes_are_named_linked_to_their_fields_and_kept(open_page):
    page = open_page("/classify")
    fill(page, ["abc", "3,5", "1.4", "900"])
    with page.expect_response("**/classify") as answer:
        submit(page, "Classify")
    assert answer.value.status == 422
    assert page.get_by_role("alert").get_by_role("link").all_inner_texts() == [
        "Sepal length: Enter a number above 0, at most 100 cm.",
        "Sepal width: Write decimals with a point, as in 5.1.",
        "Petal width: Enter a number above 0, at most 100 cm.",
    ]
    assert [page.input_value(f"#{name}") for name in FEATURES] == ["abc", "3,5", "1.4", "900"]
    for name in ("sepal_length", "sepal_width", "petal_width"):
        field = page.locator(f"#{name}")
        assert field.get_attribute("aria-invalid") == "true"
        assert page.locator(f"#{field.get_attribute('aria-describedby')}").is_visible()
    assert page.locator("#petal_length").get_attribute("aria-invalid") is None
    page.get_by_role("link", name="Petal width").click()
    assert page.evaluate("document.activeElement.id") == "petal_width"


def test_every_field_has_a_label(open_page):
    page = open_page("/classify")
    for name in ("Sepal length", "Sepal width", "Petal length", "Petal width", "CSV file"):
        assert page.get_by_label(name, exact=True).count() == 1
    assert page.get_by_label("Unit", exact=True).count() == 2


def test_a_csv_file_becomes_a_table(open_page):
    page = open_page("/classify")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download an example").click()
    assert Path(download.value.path()).read_bytes() == EXAMPLE.read_bytes()
    page.set_input_files("#file", EXAMPLE)
    submit(page, "Classify the file")
    assert page.locator("#answer").inner_text() == "30 flowers in example.csv"
    species = page.locator("tbody th").all_inner_texts()
    assert len(species) == 30
    assert species[:10] == ["setosa"] * 10
    counts = [int(text) for text in page.locator(".result .legend strong").all_inner_texts()]
    assert counts == [species.count(name) for name in ("setosa", "versicolor", "virginica")]


@pytest.mark.parametrize(
    "content", [b"", b"a,b\n1,2\n", b"\xff\xfe\x00", EXAMPLE.read_bytes() + b"5.1,3.5,flower,0.2\n"]
)
def test_a_wrong_csv_file_is_explained(open_page, content):
    page = open_page("/classify")
    page.set_input_files("#file", {"name": "flowers.csv", "mimeType": "text/csv", "buffer": content})
    with page.expect_response("**/classify") as answer:
        submit(page, "Classify the file")
    assert answer.value.status == 422
    assert page.locator("#file").get_attribute("aria-invalid") == "true"
    assert len(page.locator("#file-error").inner_text()) > 10


def test_no_csv_file_at_all_is_explained(gateway):
    answer = httpx2.post(gateway + "/classify", files={"file": ("", b"")}, data={"unit": "cm"})
    assert answer.status_code == 422
    assert "alert" in answer.text


def test_an_explanation_sums_up(open_page):
    page = open_page("/explain")
    submit(page, "Explain")
    assert page.locator("#answer").inner_text().strip() == "Why versicolor and not virginica?"
    *shares, total = [float(cell.get_attribute("data-value")) for cell in page.locator(".shares td.number").all()]
    assert len(shares) == 5
    assert math.fsum(shares) == pytest.approx(total, abs=1e-9)
    assert page.locator(".waterfall").count() == 6
    assert page.locator(".plot").count() == 2
    assert "150 training flowers" in page.locator(".plot").first.get_attribute("aria-label")
    page.goto("/classify")
    submit(page, "Classify")
    versicolor, virginica = [float(t.split()[0]) for t in page.locator(".bars .number").all_inner_texts()[1:]]
    assert math.exp(total) == pytest.approx(versicolor / virginica, rel=0.01)


def test_the_monitor_counts_and_refreshes_by_itself(open_page, gateway):
    page = open_page("/monitor")
    before = int(page.locator("#requests").inner_text())
    httpx2.post(gateway + "/iris-classifier", json=dict(zip(FEATURES, map(float, SETOSA), strict=True)))
    page.get_by_role("button", name="Refresh every 3 s").click()
    page.locator("#requests").filter(has_not_text=re.compile(f"^{before}$")).wait_for()
    assert int(page.locator("#requests").inner_text()) > before
    assert page.locator("#breaker").inner_text() == "closed"
    assert page.get_by_role("button", name="Stop refreshing").get_attribute("aria-pressed") == "true"


def test_what_people_classify_is_counted_too(open_page):
    page = open_page("/monitor")
    before = int(page.locator("#requests").inner_text())
    page.goto("/classify")
    submit(page, "Classify")
    page.goto("/monitor")
    assert int(page.locator("#requests").inner_text()) > before


def test_drift_is_drawn_and_flagged(open_page, gateway):
    flower = dict(zip(FEATURES, (5.8, 3.0, 30.0, 1.2), strict=True))
    answer = httpx2.post(gateway + "/process", json={"data": [flower] * 200, "forward_to_model": True})
    assert answer.status_code == 200
    page = open_page("/monitor")
    assert page.locator("[data-feature=petal_length]").get_attribute("data-drifted") == "true"
    assert page.locator(".plot").count() == 4
    assert "have drifted" in page.locator(".notice.warn").inner_text() or "has drifted" in page.content()


STEPS = {
    "home": lambda page: page.goto("/"),
    "form": lambda page: page.goto("/classify"),
    "result": lambda page: (page.goto("/classify"), fill(page, ["5.1", "3.5", "40", "0.2"]), submit(page, "Classify")),
    "mistakes": lambda page: (page.goto("/classify"), fill(page, ["x"] * 4), submit(page, "Classify")),
    "table": lambda page: (
        page.goto("/classify"), page.set_input_files("#file", EXAMPLE), submit(page, "Classify the file")
    ),
    "explanation": lambda page: (page.goto("/explain"), submit(page, "Explain")),
    "monitor": lambda page: page.goto("/monitor"),
}  # fmt: skip


@pytest.mark.parametrize("step", STEPS)
def test_all_can_be_read_in_light_and_dark_on_a_phone_and_on_a_desk(open_page, step):
    page = open_page("/", reduced_motion="reduce")  # no colours on their way to others
    STEPS[step](page)
    page.locator("h1").wait_for()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"[0-9]+", ground))) > 384) == (scheme == "light")
        assert page.evaluate(tools.LOW_CONTRAST) == [], scheme
    for width in (320, 360, 768, 1280):
        page.set_viewport_size({"width": width, "height": 740})
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width


def test_who_asks_for_less_motion_gets_none(open_page):
    page = open_page("/classify", reduced_motion="reduce")
    assert page.evaluate("getComputedStyle(document.querySelector('button')).transitionDuration") == "0s"


# --- what goes wrong ---


@pytest.mark.parametrize("path", ["/classify", "/explain"])
@pytest.mark.parametrize(
    ("status", "heading"),
    [
        (503, "The model is not available right now"),
        (502, "The model's answer could not be understood"),
        (504, "The model took too long to answer"),
    ],
)
def test_failures_of_the_model_are_told_kindly(open_page, troubled, path, status, heading):
    url, port = troubled
    with tools.model_in_trouble(status, port):
        page = open_page(path, base=url)
        fill(page, SETOSA)
        with page.expect_response(f"**{path}") as answer:
            submit(page, path[1:].capitalize())
        assert answer.value.status == status
        notice = page.get_by_role("alert")
        assert notice.get_by_role("heading").inner_text() == heading
        assert answer.value.headers["x-request-id"] in notice.inner_text()
        assert "Traceback" not in page.content()
        assert [page.input_value(f"#{name}") for name in FEATURES] == SETOSA


def test_a_refusal_is_told_kindly(open_page, tmp_path):
    with tools.full_gateway(tmp_path) as url:
        page = open_page("/classify", base=url)
        with page.expect_response("**/classify") as answer:
            submit(page, "Classify")
        assert answer.value.status == 503
        assert answer.value.headers["retry-after"] == "1"
        assert "the limit is 1" in page.get_by_role("alert").inner_text()
        page.goto("/monitor")
        assert page.locator("#refusals").inner_text() == "1"


def test_an_address_that_is_not_there_is_told_kindly(open_page):
    page = open_page("/nowhere")
    assert "404" in page.get_by_role("alert").inner_text()
    page.get_by_role("link", name="Back to the start").click()
    page.get_by_role("heading", name="Which iris is it?").wait_for()


def test_a_file_that_is_too_large_is_told_kindly(gateway):
    flood = {"file": ("large.csv", b"5.1,3.5,1.4,0.2\n" * 200_000)}
    answer = httpx2.post(gateway + "/classify", files=flood, headers={"Accept": "text/html"})
    assert answer.status_code == 413
    assert "too large" in answer.text
    assert answer.text.startswith("<!doctype html>")


def test_the_monitor_opens_while_the_model_is_down(open_page, troubled):
    assert open_page("/monitor", base=troubled[0]).locator("h1").inner_text() == "Monitor"


def test_hostile_input_is_shown_as_text(open_page):
    page = open_page("/classify")
    fill(page, [XSS] * 4)
    submit(page, "Classify")
    assert page.input_value("#sepal_length") == XSS[:60]
    page.set_input_files("#file", {"name": f"{XSS}.csv", "mimeType": "text/csv", "buffer": EXAMPLE.read_bytes()})
    submit(page, "Classify the file")
    assert "30 flowers" in page.locator("#answer").inner_text()
    page.set_input_files("#file", {"name": "x.csv", "mimeType": "text/csv", "buffer": f"{XSS}\n{XSS}\n".encode()})
    submit(page, "Classify the file")
    page.locator("#file-error").wait_for()
    page.goto("/explain?" + "&".join(f"{name}={XSS}" for name in (*FEATURES, "unit")))
    page.get_by_role("alert").wait_for()
    assert page.evaluate("window.hacked") is None
    assert page.locator("img[src=x], main script").count() == 0


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/x-www-form-urlencoded", b"sepal_length=%00%ff%ed%a0%80&unit=parsec"),
        ("application/x-www-form-urlencoded", b"&".join(b"a%d=1" % i for i in range(50))),
        ("application/json", b'{"sepal_length": 1}'),
        ("multipart/form-data; boundary=x; charset=idna", b'--x\r\nContent-Disposition: form-data; name="unit"\r\n\r\n'
         + b"\xff..a" * 30 + b"\r\n--x--\r\n"),
        ("multipart/form-data; boundary=x; charset=utf-7", b'--x\r\nContent-Disposition: form-data; '
         b'name="sepal_length"\r\n\r\n+2AA-\r\n--x--\r\n'),
        ("multipart/form-data", b"no boundary"),
        ("multipart/form-data; boundary=x", b"--x\r\nbroken"),
        ("", b""),
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/classify", "/explain"])
def test_hostile_bodies_are_the_senders_fault(gateway, path, content_type, body):
    answer = httpx2.post(gateway + path, content=body, headers={"Content-Type": content_type})
    assert 400 <= answer.status_code < 500
    assert "Traceback" not in answer.text
