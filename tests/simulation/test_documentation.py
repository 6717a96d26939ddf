"""What docs/testing.md shows works as it stands there."""

import re
from pathlib import Path
from types import ModuleType
from unittest import TestCase, TestLoader, TestResult

from twisted.trial.unittest import SynchronousTestCase

import tests.simulation

PAGE = Path(tests.simulation.__file__).parents[2] / "docs" / "testing.md"


class DocumentationTests(SynchronousTestCase):
    def run_example(self, number: int) -> tuple[int, list[str]]:
        """Run the tests of an example; return how many there are, and what failed."""
        example = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[number]
        module = ModuleType(f"example{number}")
        exec(compile(example, f"{PAGE.name}, example {number}", "exec"), module.__dict__)
        result = TestResult()
        for case in vars(module).values():
            if isinstance(case, type) and issubclass(case, TestCase) and case.__module__ == module.__name__:
                TestLoader().loadTestsFromTestCase(case).run(result)
        return result.testsRun, [trace for _, trace in result.failures + result.errors]

    def test_own_program(self) -> None:
        self.assertEqual(self.run_example(0), (1, []))

    def test_bot(self) -> None:
        self.assertEqual(self.run_example(1), (1, []))

    def test_pair(self) -> None:
        self.assertEqual(self.run_example(2), (1, []))

    def test_there_are_no_others(self) -> None:
        self.assertEqual(PAGE.read_text().count("```python"), 3)
