"""What docs/clients.md shows is what scripts/clients runs."""

import pathlib
import re
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAMS = {
    "typescript": ["program.ts", "native.ts"],
    "python": ["program.py", "native.py"],
    "java": ["Program.java", "Native.java"],
    "rust": ["program.rs", "native.rs"],
}


def are_lines_of(lines, program):
    rest = iter(program)
    return all(line in rest for line in lines)


class Page(unittest.TestCase):
    def test_its_excerpts_are_lines_of_the_programs_in_their_order(self):
        page = (ROOT / "docs/clients.md").read_text("utf-8")
        for language, names in PROGRAMS.items():
            programs = [(ROOT / "tests/clients" / language / name).read_text("utf-8").splitlines() for name in names]
            excerpts = re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
            self.assertTrue(excerpts, language)
            for excerpt in excerpts:
                lines = list(filter(None, excerpt.splitlines()))
                self.assertTrue(any(are_lines_of(lines, program) for program in programs), f"{language}: in none of {names}: {excerpt}")

    def test_its_versions_are_those_that_are_installed(self):
        page = (ROOT / "docs/clients.md").read_text("utf-8")
        lock = (ROOT / "tests/clients/typescript/package.json").read_text("utf-8")
        for name, version in re.findall(r"(openapi-fetch|openapi-typescript|typescript)@([\d.]+)", page):
            self.assertIn(f'"{name}": "{version}"', lock)
        for language in ("python", "java"):
            pinned = (ROOT / "tests/clients" / language / "requirements.txt").read_text("utf-8")
            first = re.search(r"^openapi-.*==.*$", pinned, re.MULTILINE)[0]
            self.assertIn(f"pip install {first}\n", page)
        generator = re.search(r"generator=([\d.]+)", (ROOT / "scripts/clients").read_text("utf-8"))[1]
        self.assertIn(f"--version {generator} oas3-gen", page)


if __name__ == "__main__":
    unittest.main()
