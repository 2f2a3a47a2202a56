"""Looks whether every link of a built book leads to a file of it, and to an anchor that is there. Usage: links.py FOLDER"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The links of a page, and what may be linked in it."""

    def __init__(self, file):
        super().__init__()
        self.links, self.anchors = [], set()
        self.feed(file.read_text())

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name in ("href", "src") and tag != "base":
                self.links.append(value or "")
            elif name in ("id", "name"):
                self.anchors.add(value)


def mistakes_of(book, file, page, pages):
    """The links of a page that lead nowhere, and how many lead somewhere in the book."""
    mistakes, seen = [], 0
    for link in page.links:
        to = urlsplit(link)
        if to.scheme or to.netloc:
            continue
        target = (file.parent / unquote(to.path)).resolve() if to.path else file
        if target.is_dir():
            target /= "index.html"
        if not target.is_file():
            mistakes.append(f"{file.relative_to(book)}: {link} leads nowhere")
        elif to.fragment and target in pages and unquote(to.fragment) not in pages[target].anchors:
            mistakes.append(f"{file.relative_to(book)}: {link}: {target.name} has no such anchor")
        seen += 1
    return mistakes, seen


def main():
    book = Path(sys.argv[1]).resolve()
    pages = {file: Page(file) for file in sorted(book.rglob("*.html"))}
    mistakes, seen = [], 0
    for file, page in pages.items():
        # The page for addresses that are not there is served at any depth: its links are the site's.
        if file.name != "404.html":
            wrong, leads = mistakes_of(book, file, page, pages)
            mistakes += wrong
            seen += leads
    if mistakes or seen < 1_000:
        sys.exit("\n".join([*mistakes, f"{len(mistakes)} of {seen} links of the book lead nowhere"]))
    print(f"{len(pages)} pages, {seen} links within the book, all lead somewhere")


main()
