"""The page: whatever comes from files is text on it, and figures have the ink of the page."""

from urllib.parse import unquote
from xml.etree import ElementTree

from fairseq_smt.analysis.samples import Continuation
from fairseq_smt.reporting.page import Page, Picture, Sample
from fairseq_smt.reporting.pictures import COLOURS, INK, ceiling_figure, curve_figure, data_uri, theme
from fairseq_smt.reporting.settings import Setting
from fairseq_smt.reporting.tables import Cell, Row
from tests.support.page import self_contained

HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(2)>'&lt;{{ 7 * 7 }}\x00\x1b[31m‮$x_"


def hostile_page() -> Page:
    with theme(COLOURS):
        figure = ceiling_figure({HOSTILE: ({1: 2.0, 2: 1.0}, {})}, HOSTILE)
        picture = Picture(HOSTILE, data_uri(figure), HOSTILE)
    row = Row(HOSTILE, (Cell(HOSTILE, HOSTILE, True),))
    return Page(
        HOSTILE,
        {HOSTILE: COLOURS[0]},
        [row],
        [row],
        {HOSTILE: [(HOSTILE, 60.0), ("b", 40.0)]},
        picture,
        {HOSTILE: [picture]},
        [picture],
        [Sample({HOSTILE: Continuation(HOSTILE, HOSTILE)})],
        picture,
        [Setting(HOSTILE, HOSTILE, (HOSTILE,)), Setting("--a", None, (HOSTILE, None))],
        [HOSTILE],
        HOSTILE,
    )


def test_whatever_comes_from_files_is_text():
    content = hostile_page().html()
    page = self_contained(content)
    assert "script" not in {name for name, _ in page.elements} and "\x00" not in content and "\x1b" not in content
    shown = HOSTILE.replace("\x00", "�").replace("\x1b", "�")
    assert page.text.count(shown) >= 15 and "49" not in page.text
    assert [image["alt"] for image in page.of("img")] == [shown] * 4
    for image in page.of("img"):
        elements = ElementTree.fromstring(unquote(image["src"]).removeprefix("data:image/svg+xml,")).iter()
        names = {element.tag.rpartition("}")[2] for element in elements}
        assert names <= {"svg", "g", "defs", "style", "path", "use", "text", "clipPath", "rect"}


def test_a_page_is_for_phones_printers_and_both_kinds_of_light():
    content = Page("Report", {"a": COLOURS[0]}).html()
    page = self_contained(content)
    metas = {meta.get("name", meta.get("http-equiv")): meta.get("content") for meta in page.of("meta")}
    assert metas["viewport"] == "width=device-width, initial-scale=1" and metas["color-scheme"] == "light dark"
    assert metas["Content-Security-Policy"] == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert "@media print" in content and "prefers-color-scheme: dark" in content
    assert len(content) < 10_000 and "What is missing" not in page.text


def test_a_figure_is_small_and_has_the_ink_of_the_page():
    with theme(COLOURS):
        curves = {"a": ({i: 1 / (i + 1) for i in range(900)}, {9: 0.2})}
        uris = {data_uri(curve_figure(curves)) for _ in range(2)}
    (uri,) = uris  # the same every time
    svg = unquote(uri)
    assert uri.startswith("data:image/svg+xml,%3Csvg") and len(uri) < 15_000
    assert INK not in svg and "currentColor" in svg and "prefers-color-scheme: dark" in svg and COLOURS[0] in svg
    assert "'" not in uri and '"' not in uri and "<!--" not in svg


def test_a_value_that_never_changes_has_no_picture():
    assert curve_figure({"a": ({1: 0.008, 2: 0.008000001}, {}), "b": ({}, {})}) is None
    assert curve_figure({"a": ({}, {})}) is None and ceiling_figure({"a": ({}, {1: 2.0})}, "bits") is None
