"""What the pages name is there."""

import re

from tests.places import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
TOP = "deployments|flows|tasks|storage|tests|benchmarks|samples|docs"


def anchors_of(page):
    """The anchors that a Markdown page has for its headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_relative_link_leads_somewhere():
    broken = []
    for page in PAGES:
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
            if re.match(r"\w+:", link):
                continue
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            if not target.exists() or (anchor and anchor not in anchors_of(target)):
                broken.append((page.name, link))
    assert broken == []


def test_every_path_of_the_house_exists():
    named, gone = 0, []
    for page in PAGES:
        for path in re.findall(rf"`((?:{TOP})/[\w./-]*)`", page.read_text(encoding="utf-8")):
            if re.search(r"NAME|NOUN|FLOW", path):
                continue
            named += 1
            if not (ROOT / path).exists():
                gone.append((page.name, path))
    assert named > 30
    assert gone == []
