from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from chatproto.reloading import Reloading


class ReloadingTests(SynchronousTestCase):
    def test_every_part_is_told_whatever_becomes_of_the_others(self) -> None:
        told: list[str] = []

        def broken() -> list[str]:
            told.append("broken")
            raise OSError("no such file")

        def stubborn() -> list[str]:
            told.append("stubborn")
            return ["--listen needs a restart"]

        reloading = Reloading()
        reloading.add("certificates", broken)
        reloading.add("options", stubborn)
        self.assertEqual(reloading.reload(), ["certificates: no such file", "options: --listen needs a restart"])
        self.assertEqual(told, ["broken", "stubborn"])
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)

    def test_only_what_was_read_again_as_a_whole_is_said_to_be(self) -> None:
        reloading = Reloading()
        reloading.add("certificates", lambda: ["node.key is not the key"])
        with capturedLogs() as events:
            reloading.reload()
            reloading.add("options", lambda: ())
            reloading.reload()
        said = [formatEvent(event) for event in events]
        warned = "not changed: certificates: node.key is not the key"
        self.assertEqual(said, [warned, warned, "read again: options"])

    def test_a_part_is_replaced_by_name(self) -> None:
        reloading = Reloading()
        reloading.add("options", lambda: ["old"])
        reloading.add("options", lambda: ())
        self.assertEqual(reloading.reload(), [])
