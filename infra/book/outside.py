"""Puts into the book what its pages link outside of docs/: each such file becomes a page at the end of the book.

mdBook builds docs/ alone, so a link to ../CHANGELOG.md or ../infra/sam/template.yaml would lead nowhere in the HTML. A Markdown
file becomes a page as it is; any other is shown as code. mdBook runs this before it renders (book.toml, preprocessor).
"""

import json
import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
# The contents stand beside every page of the book, and are none themselves: their links lead to the first page.
CONTENTS, FIRST = DOCS / "SUMMARY.md", DOCS / "introduction.md"
# Where the further pages stand in the book.
PART = "tree"
LINK = re.compile(r"(\]\()([^)\s]+)(\))")
FENCE = re.compile(r"^ *(```|~~~)")
LANGUAGES = {".tf": "hcl", ".yaml": "yaml", ".yml": "yaml", ".json": "json", ".toml": "toml", ".rs": "rust,ignore", ".py": "python"}


def page_of(file):
    """The path in the book of a file of the tree."""
    if file.is_relative_to(DOCS):
        return file.relative_to(DOCS)
    # README.md would become the index of its folder, and is then found under another name than its links say.
    name = "readme.md" if file.name == "README.md" else file.name
    path = Path(PART) / file.relative_to(ROOT).parent / name
    return path if path.suffix == ".md" else path.with_name(path.name + ".md")


def with_links(text, file, page, wanted):
    """The text of a page, whose links lead to pages of the book; what is not there yet is added to `wanted`."""

    def in_book(match):
        link, _, anchor = match[2].partition("#")
        if "://" in link or link.startswith("mailto:") or not link:
            return match[0]
        target = (file.parent / link).resolve()
        target = FIRST if target == CONTENTS else target
        if not target.is_file() or (target.is_relative_to(DOCS) and target.suffix != ".md"):
            return match[0]
        if not target.is_relative_to(DOCS) and target not in wanted:
            wanted.append(target)
        anchor = f"#{anchor}" if anchor else ""
        return f"{match[1]}{os.path.relpath(page_of(target), page.parent)}{anchor}{match[3]}"

    in_code, lines = False, []
    for line in text.split("\n"):
        if FENCE.match(line):
            in_code = not in_code
        lines.append(line if in_code else LINK.sub(in_book, line))
    return "\n".join(lines)


def chapter(name, content, path):
    return {"Chapter": {
        "name": name, "content": content, "number": None, "sub_items": [],
        "path": str(path), "source_path": None, "parent_names": [],
    }}


def chapters(items):
    for item in items:
        if isinstance(item, dict) and "Chapter" in item:
            yield item["Chapter"]
            yield from chapters(item["Chapter"]["sub_items"])


def main():
    if len(sys.argv) > 1 and sys.argv[1] == "supports":
        sys.exit(0 if sys.argv[2:] == ["html"] else 1)
    _context, book = json.load(sys.stdin)
    items, wanted, pages = book["items"], [], []
    for known in chapters(items):
        if known["path"]:
            page = Path(known["path"])
            known["content"] = with_links(known["content"], DOCS / (known["source_path"] or page), page, wanted)
    done = 0
    while done < len(wanted):
        file = wanted[done]
        text = file.read_text()
        if file.suffix == ".md":
            content = with_links(text, file, page_of(file), wanted)
        else:
            content = f"# {file.relative_to(ROOT)}\n\n````{LANGUAGES.get(file.suffix, '')}\n{text}````\n"
        pages.append(chapter(str(file.relative_to(ROOT)), content, page_of(file)))
        done += 1
    if pages:
        items += [{"PartTitle": "Files that the pages name"}, *pages]
    json.dump(book, sys.stdout)


main()
