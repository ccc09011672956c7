"""Links lead somewhere, named files exist, sentences are short, and terms are those of the glossary."""

import re

import pytest

from tests.support.commands import ROOT
from tests.support.pages import PAGES, anchors, docstrings, length, links, named_files, prose, sentences

LONGEST = 30
DATED = re.compile(r"docs/results/\d{4}-")
"""Records of a day, some of them written by benchmarks: their sentences are not judged."""


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


@pytest.mark.parametrize("page", [page for page in PAGES if not DATED.match(name(page))], ids=name)
def test_sentences_are_short(page):
    long = [sentence for sentence in sentences(page.read_text()) if length(sentence) > LONGEST]
    assert not long, f"{name(page)}: more than {LONGEST} words:\n" + "\n".join(long)


def test_sentences_of_docstrings_are_short():
    for path in (ROOT / "fairseq_smt").rglob("*.py"):
        found = [sentence for text in docstrings(path) for sentence in sentences(text)]
        long = [sentence for sentence in found if length(sentence) > LONGEST]
        assert not long, f"{path.relative_to(ROOT)}: more than {LONGEST} words:\n" + "\n".join(long)


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


@pytest.mark.parametrize(
    "text, number",
    [
        ("One. Two words.", 2),
        ("- an item\n- another\n\n| a | table |\n", 2),
        ("It takes `a b c` and $x + y$. Then `it` ends.", 2),
        ("See [the page](x.md). **Bold** words follow.", 2),
        ("```bash\nls -l. Then more\n```\nAn end.", 1),
        ("An arXiv 2606.06479 number is one word.", 1),
    ],
)
def test_what_a_sentence_is(text, number):
    assert len(sentences(text)) == number


def test_words_are_counted():
    assert length("The RNN's memory m̂ has K·d numbers, 1,000 or 2.5 of them.") == 12
