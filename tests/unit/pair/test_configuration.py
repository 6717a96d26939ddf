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

    @given(st.integers(0, 2**63 - 1), st.text(), st.lists(st.text()), st.booleans(), st.text())
    def test_what_a_disk_keeps_says_whether_its_log_is_complete_and_who_is_asked_for(
        self, epoch: int, leader: str, members: list[str], complete: bool, required: str
    ) -> None:
        configuration = Configuration(epoch, leader, tuple(members))
        read = kept(keep(configuration, complete=complete, required=required))
        self.assertEqual((read.configuration, read.complete, read.required), (configuration, complete, required))
        usual = kept(keep(configuration))
        self.assertEqual((usual.configuration, usual.complete, usual.required), (configuration, True, ""))
        self.assertEqual(kept(encode_configuration(configuration)), usual)
