from twisted.trial.unittest import SynchronousTestCase

from chatproto import errors


class FamilyTests(SynchronousTestCase):
    def test_everything_raised_on_purpose_has_one_root(self) -> None:
        raised = [kind for kind in vars(errors).values() if isinstance(kind, type)]
        self.assertIn(errors.WireError, raised)
        for kind in raised:
            self.assertTrue(issubclass(kind, errors.ChatprotoError), kind)

    def test_each_family_is_caught_by_its_name(self) -> None:
        for member in (errors.StoreBusy, errors.StoreVersion, errors.StoreCorrupt):
            self.assertTrue(issubclass(member, errors.StoreError), member)
        for member in (errors.Refused, errors.ClientStopped):
            self.assertTrue(issubclass(member, errors.ClientError), member)
        for member in (errors.BacklogFull, errors.Rejected, errors.TimedOut, errors.Unreachable):
            self.assertTrue(issubclass(member, errors.DeliveryError), member)

    def test_what_was_not_acknowledged_says_whether_it_may_have_arrived(self) -> None:
        for sent, words in ((True, "gone: it may or may not have arrived"), (False, "gone: it was not sent")):
            gone = errors.Unreachable("gone", sent=sent)
            self.assertEqual((gone.sent, str(gone)), (sent, words))

    def test_a_refusal_says_its_code_and_what_the_server_said(self) -> None:
        refused = errors.Refused("room-taken", "there is a room jokes already")
        self.assertEqual((refused.code, str(refused)), ("room-taken", "room-taken: there is a room jokes already"))

    def test_a_refusal_without_a_message_says_its_code(self) -> None:
        self.assertEqual(str(errors.Refused("full")), "full")
