"""Writes the measured tables into the pages and draws the plots anew, from the files in results/.

A table stands in a block of cog: <!-- [[[cog ... ]]] --> calls a function of benchmarks/pages.py, and what it prints
replaces the lines up to <!-- [[[end]]] -->.

Run: python -m benchmarks.report            # write
     python -m benchmarks.report --check    # only say whether the pages and the files agree
"""

from pathlib import Path

from cogapp import Cog

from benchmarks.tables import STALE
from common.settings import ROOT
from common.terminal import ArgumentParser, run


def pages() -> list[Path]:
    """Return the pages that have a block of cog."""
    here = [
        path for path in ROOT.rglob("*.md") if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
    ]
    return [path for path in sorted(here) if "[[[cog" in path.read_text(encoding="utf-8")]


def render(text: str, name: str = "page") -> str:
    """Return a page with what its blocks print now."""
    cog = Cog()
    cog.options.print_output = True
    return cog.process_string(text, fname=name)


def settled(text: str) -> str:
    """Return a page without what it says about code that has changed since it was measured."""
    return STALE.sub("", text)


def main(argv: list[str] | None = None) -> int:
    """Write, or check."""
    parser = ArgumentParser(__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if a page is not what would be written")
    args = parser.parse_args(argv)
    old = {page: page.read_text(encoding="utf-8") for page in pages()}
    new = {page: render(text, page.name) for page, text in old.items()}
    if args.check:
        differ = [str(page.relative_to(ROOT)) for page in old if settled(old[page]) != settled(new[page])]
        print(f"Not up to date: {', '.join(differ)}. Run: python -m benchmarks.report" if differ else "All up to date.")
        return int(bool(differ))
    for page, text in new.items():
        page.write_text(text, encoding="utf-8")

    from benchmarks.plots import draw_all

    print(f"Written: {len(new)} pages; drawn: {', '.join(path.name for path in draw_all()) or 'nothing'}")
    return 0


if __name__ == "__main__":
    run(main)
