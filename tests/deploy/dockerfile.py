"""A Dockerfile, read: its stages and their instructions. As much of the format as ours uses, and no more."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

KNOWN = frozenset(
    {"ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "RUN", "STOPSIGNAL", "USER", "WORKDIR"}
)


class Instruction(NamedTuple):
    """One instruction: ``word`` in capitals, and the rest of its line with continued lines joined."""

    word: str
    rest: str

    @property
    def command(self) -> list[str]:
        """A command in the JSON form."""
        words = json.loads(self.rest)
        assert isinstance(words, list)
        return words

    def assigned(self) -> dict[str, str]:
        """``NAME=value ...`` of ENV and ARG; an ARG without a value gives an empty one."""
        return {name: value for name, _, value in (each.partition("=") for each in self.rest.split())}


class Stage(NamedTuple):
    """The instructions from one FROM to the next: the base image, the stage's name ("" without one), and the rest."""

    base: str
    name: str
    instructions: list[Instruction]

    def last(self, word: str) -> Instruction:
        return [each for each in self.instructions if each.word == word][-1]

    def all(self, word: str) -> list[Instruction]:
        return [each for each in self.instructions if each.word == word]


def read(text: str) -> list[Stage]:
    """Its stages in order. Arguments before the first FROM are put into the names of images."""
    joined = re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE))
    arguments: dict[str, str] = {}
    stages: list[Stage] = []
    for line in filter(None, map(str.strip, joined.splitlines())):
        word, _, rest = line.partition(" ")
        instruction = Instruction(word, re.sub(r"\s+", " ", rest.strip()))
        assert word in KNOWN, f"unknown instruction {word}"
        if word == "FROM":
            base, _, name = expanded(instruction.rest, arguments).partition(" AS ")
            stages.append(Stage(base, name, []))
        elif stages:
            stages[-1].instructions.append(instruction)
        else:
            arguments |= instruction.assigned()
    return stages


def read_file(path: Path) -> list[Stage]:
    return read(path.read_text("utf-8"))


def expanded(text: str, values: dict[str, str]) -> str:
    """``$NAME`` and ``${NAME}`` replaced."""
    return re.sub(r"\$\{?(\w+)\}?", lambda found: values.get(found[1], ""), text)
