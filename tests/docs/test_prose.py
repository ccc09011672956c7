"""Links lead somewhere, named files exist, and every page can be found."""

import re

import pytest

from tests.support.commands import ROOT
from tests.support.pages import PAGES, anchors, links, named_files, prose


def name(page) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page):
    for target in links(page):
        if re.match(r"\w+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), f"{name(page)} links to {target}"
        assert not anchor or anchor in anchors(found), f"{name(page)}: no heading for {target}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_named_files_exist(page):
    missing = [str(path.relative_to(ROOT)) for path in named_files(page) if not path.exists()]
    assert not missing, f"{name(page)} names {missing}"


def test_the_readme_stays_one_read():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_every_page_is_in_the_map():
    reached, pending = set(), {ROOT / "README.md"}
    while pending:
        page = pending.pop()
        reached.add(page)
        paths = {(page.parent / target.partition("#")[0]).resolve() for target in links(page)}
        pending |= {path for path in paths if path.suffix == ".md" and path.exists()} - reached
    assert {page for page in PAGES} <= reached, {name(page) for page in set(PAGES) - reached}


def test_every_page_says_what_it_is_for():
    """A title, and a first paragraph before anything else."""
    for page in PAGES:
        title, _, rest = prose(page).partition("\n")
        assert title.startswith("# ") and re.match(r"\n*[^\s#|!<]", rest), name(page)
