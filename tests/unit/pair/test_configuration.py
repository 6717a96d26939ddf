from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chatproto.pair.configuration import Configuration, after, decode_configuration, encode_configuration, keep, kept


class ConfigurationTests(SynchronousTestCase):
    def test_epochs_are_counted_from_1_one_at_a_time(self) -> None:
        self.assertEqual(after(None), 1)
        self.assertEqual(after(Configuration(7, "east", ("east",))), 8)

    @given(st.integers(1, 2**63 - 1), st.text(), st.lists(st.text()))
    def test_what_is_kept_is_read_back(self, epoch: int, leader: str, members: list[str]) -> None:
        configuration = Configuration(epoch, leader, tuple(members))
        self.assertEqual(decode_configuration(encode_configuration(configuration)), configuration)

    @given(st.integers(0, 2**63 - 1), st.text(), st.lists(st.text()), st.booleans())
    def test_what_a_disk_keeps_says_whether_its_log_is_complete(
        self, epoch: int, leader: str, members: list[str], complete: bool
    ) -> None:
        configuration = Configuration(epoch, leader, tuple(members))
        self.assertEqual(kept(keep(configuration, complete=complete)), (configuration, complete))
        self.assertEqual(kept(encode_configuration(configuration)), (configuration, True))
