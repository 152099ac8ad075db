"""The parts of a report, each made of a few kinds of blocks that page and Markdown both show."""
