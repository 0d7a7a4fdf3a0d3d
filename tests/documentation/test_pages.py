"""How blocks are read out of pages, and what a page shows is compared with what was printed."""

from __future__ import annotations

from pathlib import Path

import pytest
from pages import Block, blocks_of, commands_of, matches


def read(text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Block]:
    monkeypatch.setattr("pages.ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(text)
    return blocks_of(page)


PAGE = """\
# A page

```python
print("a script")
```

<!-- not run: there is no Go -->
```console
$ go build
```

````{tab-set}
```{tab-item} One
<!-- file: a/b.toml -->
    ```toml
    [x]
    ```
```
````

<!-- within program:
async def main():
    [snippet]
-->
```python
await one()
await two()
```

```{code-block} console
:caption: In a caption

$ true
```
"""


def test_each_block_is_what_the_comment_above_it_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    blocks = read(PAGE, monkeypatch, tmp_path)
    assert [block.kind for block in blocks] == ["extension", "not run", "file", "program", "console"]
    assert blocks[0].where == "page.md:4"
    assert blocks[2].code == "[x]\n"
    assert blocks[3].script == "async def main():\n    await one()\n    await two()\n"
    assert commands_of(blocks[4])[0].text == "true"


def test_a_comment_that_nobody_understands_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nto run"):
        read("<!-- nto run: by mistake -->\n```python\n```\n", monkeypatch, tmp_path)


def console(code: str) -> Block:
    return Block(page="page.md", line=1, language="console", code=code, directives={})


def test_commands_and_what_they_print_are_told_apart() -> None:
    commands = commands_of(console("$ one \\\n  --two\nprinted\n$ three\n"))
    assert [(command.text, command.shown) for command in commands] == [("one \\\n  --two", "printed"), ("three", "")]


def test_a_block_that_shows_no_output_compares_none() -> None:
    assert [command.shown for command in commands_of(console("$ one\n$ two\n"))] == [None, None]
    assert [command.text for command in commands_of(console("one\ntwo\n"))] == ["one", "two"]


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("a\nb", "a\nb\n", True),
        ("a\nb", "a\n", False),
        ("took … ms", "took 12.5 ms\n", True),
        ("took … ms", "took 12.5 s\n", False),
        ("a\n…\nz", "a\nb\nc\nz\n", True),
        ("a\n…\nz", "a\nz\n", True),
        ("a\n…\nz", "a\nb\n", False),
        ("a.c", "abc\n", False),
        ("… of … ms", "1 of 2 ms\n", True),
        ("… of … ms", "1 of 2 s\n", False),
        ("ab…b", "ab\n", False),
        ("…\nz\n…", "z\n", True),
    ],
)
def test_output_is_compared_as_it_is_shown(shown: str, printed: str, *, same: bool) -> None:
    assert matches(shown, printed) is same
