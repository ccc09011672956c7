"""The commands of the README and of other pages, as a shell would read them."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def commands(first: str = "", last: str = "", page: str = "README.md") -> list[list[str]]:
    """The commands in a page's shell blocks between two headings, without those that are cut short by an `…`.

    Variables are replaced, pipes cut into their commands.
    """
    text = (ROOT / page).read_text()
    text = text[text.index(first) : text.index(last) if last else None]
    found, variables = [], {"PWD": "."}
    for block in re.findall(r"^```bash\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        for name, value in re.findall(r'^([A-Z]+)="(.*?)"$', block, re.DOTALL | re.MULTILINE):
            variables[name] = re.sub(r"\$([A-Z]+)", lambda m: variables[m[1]], " ".join(value.split()))
        block = re.sub(r'^[A-Z]+=".*?"$', "", block, flags=re.DOTALL | re.MULTILINE)
        block = re.sub(r"\$([A-Z]+)", lambda m: variables[m[1]].replace("(", "'(").replace(")", ")'"), block)
        for line in block.replace("\\\n", " ").splitlines():
            parts = shlex.split(line, comments=True)
            if "…" in parts:
                continue
            while parts:
                end = parts.index("|") if "|" in parts else len(parts)
                found.append(parts[:end])
                parts = parts[end + 1 :]
    return found
