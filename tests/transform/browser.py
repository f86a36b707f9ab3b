"""Opens pages in Chromium and tells as JSON what it saw.

`browser.py CHROMIUM PAGE...`
"""

from __future__ import annotations

import json
import sys
import typing as t
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

SCREENS = (("light", 1200), ("dark", 360))
FOCUSED = "document.activeElement.getAttribute('href')"
OPEN = "document.querySelectorAll('details').forEach(part => part.open = true)"
READ = """() => ({
  language: document.documentElement.lang,
  title: document.title,
  tiles: Object.fromEntries([...document.querySelectorAll('.tiles b')]
    .map(tile => [tile.id, tile.textContent])),
  counts: Object.fromEntries([...document.querySelectorAll('article')]
    .map(article => [article.id, article.querySelector('.count').textContent])),
  tables: Object.fromEntries([...document.querySelectorAll('article, section')]
    .filter(part => part.querySelector('tbody'))
    .map(part => [part.id, [...part.querySelectorAll('tbody tr')]
      .map(row => [...row.cells].map(cell => cell.textContent.trim()))])),
  bars: document.querySelectorAll('.chart g').length,
  scripts: document.scripts.length,
  width: document.documentElement.scrollWidth - window.innerWidth,
  ground: getComputedStyle(document.body).backgroundColor,
})"""


def main() -> None:
    """Open each page in each colour scheme, wide and narrow."""
    chromium, *pages = sys.argv[1:]
    seen: list[dict[str, t.Any]] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox"]
        )
        for number, path in enumerate(pages):
            for scheme, width in SCREENS:
                context = browser.new_context(
                    offline=True,
                    color_scheme=t.cast("t.Literal['light', 'dark']", scheme),
                    viewport={"width": width, "height": 900},
                )
                page = context.new_page()
                requests: list[str] = []
                messages: list[str] = []
                page.on("request", lambda request, to=requests: to.append(request.url))
                page.on("console", lambda message, to=messages: to.append(message.text))
                page.on("pageerror", lambda error, to=messages: to.append(str(error)))
                page.goto(Path(path).absolute().as_uri())
                read = page.evaluate(READ)
                page.evaluate(OPEN)
                page.keyboard.press("Tab")
                focused = page.evaluate(FOCUSED)
                # The page's policy keeps scripts out; this one the browser itself runs.
                # It is slow: each page is tried on one screen, by turns.
                tried = SCREENS[number % 2][0] == scheme
                found = Axe().run(page).response["violations"] if tried else None
                violations = found and [violation["id"] for violation in found]
                seen.append(
                    {
                        **read,
                        "scheme": scheme,
                        "requests": requests,
                        "messages": messages,
                        "focused": focused,
                        "violations": violations,
                    }
                )
                context.close()
        browser.close()
    json.dump(seen, sys.stdout)


if __name__ == "__main__":
    main()
