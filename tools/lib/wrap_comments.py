"""Rewrites C files so that no comment goes past column 120; clang-format breaks code, but would garble tables.

A long line of a comment is broken between words and flows on into the rest of its paragraph. A comment behind code that
makes its line too long moves to a line of its own above. Usage: wrap_comments.py FILE...
"""
import re
import sys

WIDTH = 120
# " * text" and "/* text", with what a line ends in.
BLOCK = re.compile(r"^(\s*)(/\*| \*) (\s*)(\S.*?)( \*/)?$")
TRAILING = re.compile(r"^(\s*)(\S.*?)\s+/\* (.*) \*/$")
PICTURE = re.compile(r"[─│└┌├►]|\S {3,}\S")
LABEL = re.compile(r"^[A-Z]\w*:\s{2,}")


def trailing_to_above(lines):
    for line in lines:
        behind = TRAILING.match(line)
        if len(line) > WIDTH and behind and not behind[2].startswith(("/*", "*")):
            yield f"{behind[1]}/* {behind[3]} */"
            yield behind[1] + behind[2]
        else:
            yield line


def continues(line, inner):
    """Can what flows over be put in front of this line's text? Not if the line begins an item or a label of its own."""
    block = BLOCK.match(line)
    if not block or block[2] != " *" or block[3] != inner:
        return False
    return not re.match(r"[-*|\d@]", block[4]) and not LABEL.match(block[4])


def wrap(lines):
    queue = list(lines)
    while queue:
        line = queue.pop(0)
        block = BLOCK.match(line)
        if len(line) <= WIDTH or not block:
            yield line
            continue
        indent, mark, inner, text, end = block.groups()
        if PICTURE.search(LABEL.sub("", text)):
            yield line  # only a person can make it narrower
            continue
        # Continuation lines of "Units:   ..." stand below its text.
        label = LABEL.match(text)
        hanging = inner + (" " * label.end() if label else "")
        cut = text.rfind(" ", label.end() if label else 0, WIDTH - len(f"{indent}{mark} {inner}"))
        if cut < 0:
            yield line
            continue
        yield f"{indent}{mark} {inner}{text[:cut].rstrip()}"
        rest = text[cut:].strip() + (end or "")
        if not end and queue and continues(queue[0], hanging):
            rest += " " + BLOCK.match(queue[0])[4] + (BLOCK.match(queue[0])[5] or "")
            queue.pop(0)
        queue.insert(0, f"{indent} * {hanging}{rest}")


def main():
    for path in sys.argv[1:]:
        with open(path, encoding="utf-8") as file:
            before = file.read()
        after = "\n".join(wrap(trailing_to_above(before.split("\n"))))
        if after != before:
            with open(path, "w", encoding="utf-8") as file:
                file.write(after)


main()
