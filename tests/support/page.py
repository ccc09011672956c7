"""What an HTML file holds, as a browser would read it."""

from html.parser import HTMLParser

EMPTY = {"meta", "img", "wbr", "br"}


class Reading(HTMLParser):
    """Elements, attributes and text of a page.

    Attributes:
        elements: names of elements with their attributes.
        text: all text outside of `<style>`.
        open: elements that have not ended.
    """

    def __init__(self, content: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text, self.open = "", []
        self.feed(content)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text += data

    def of(self, tag: str) -> list[dict[str, str]]:
        """Attributes of every element of a name."""
        return [attributes for name, attributes in self.elements if name == tag]


def self_contained(content: str) -> Reading:
    """Read a page that loads nothing and runs nothing; fail for any other."""
    page = Reading(content)
    assert page.open == [] and {name for name, _ in page.elements} <= ALLOWED
    for _, attributes in page.elements:
        assert set(attributes) <= {
            *("lang", "charset", "name", "content", "http-equiv", "class", "id", "href", "src", "alt", "style")
        }
        assert attributes.get("src", "data:image/svg+xml,").startswith("data:image/svg+xml,")
        assert attributes.get("href", "#").startswith("#")
        assert "url(" not in attributes.get("style", "")
    assert "@import" not in content and "url(" not in content.replace("url(%23", "").replace("url%28%23", "")
    return page


ALLOWED = {
    *("html", "head", "meta", "title", "style", "body", "h1", "h2", "h3", "nav", "a", "div", "table", "thead", "tbody"),
    *("tr", "th", "td", "span", "small", "wbr", "ul", "li", "p", "figure", "img", "figcaption", "b", "pre", "i"),
    *("details", "summary", "footer"),
}
