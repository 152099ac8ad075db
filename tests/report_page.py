"""What a test asks of a page of HTML."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser


class Seen(HTMLParser):
    """What a test asks of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: Counter = Counter()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.labels: list[str] = []
        self.headings: list[int] = []
        self.scopes: list[str | None] = []
        self.captions = 0
        self.bare_images = 0

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.tags[tag] += 1
        self.links += [given[k] for k in ("src", "href", "srcset", "action", "data") if k in given]
        self.ids += [given["id"]] if "id" in given else []
        self.labels += [given[k] for k in ("aria-labelledby",) if k in given]
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag == "th":
            self.scopes.append(given.get("scope"))
        if tag == "img" and not given.get("alt"):
            self.bare_images += 1


def seen(text: str) -> Seen:
    found = Seen()
    found.feed(text)
    return found
