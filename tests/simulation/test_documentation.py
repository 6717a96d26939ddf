"""What docs/testing.md and docs/embedding.md show works as it stands there."""

import re
from types import ModuleType
from unittest import TestCase, TestLoader, TestResult

from twisted.trial.unittest import SynchronousTestCase

from tests.conversations import ROOT


def blocks(page: str) -> list[str]:
    """Return the Python of a page."""
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(encoding="utf-8"), re.DOTALL)


class DocumentationTests(SynchronousTestCase):
    def run_example(self, page: str, source: str) -> tuple[int, list[str]]:
        """Run the tests of an example; return how many there are, and what failed."""
        module = ModuleType("example")
        exec(compile(source, page, "exec"), module.__dict__)
        result = TestResult()
        for case in vars(module).values():
            if isinstance(case, type) and issubclass(case, TestCase) and case.__module__ == module.__name__:
                TestLoader().loadTestsFromTestCase(case).run(result)
        return result.testsRun, [trace for _, trace in result.failures + result.errors]

    def test_testing(self) -> None:
        """Each block is a program of its own."""
        examples = blocks("testing.md")
        self.assertEqual(len(examples), 3)
        for example in examples:
            self.assertEqual(self.run_example("testing.md", example), (1, []))

    def test_embedding(self) -> None:
        """All blocks are one program."""
        self.assertEqual(self.run_example("embedding.md", "\n".join(blocks("embedding.md"))), (7, []))
