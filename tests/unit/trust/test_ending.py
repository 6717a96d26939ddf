from OpenSSL import SSL
from service_identity import VerificationError
from service_identity.exceptions import DNSMismatch
from service_identity.hazmat import DNS_ID
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from chatproto.trust.ending import tls_trouble


class EndingTests(SynchronousTestCase):
    def test_what_tls_has_ended_is_said_in_words(self) -> None:
        for error, words in (
            (SSL.Error([("SSL routines", "", "certificate verify failed")]), "of nobody who is believed"),
            (VerificationError([DNSMismatch(DNS_ID("one.example"))]), "for another name"),
            (SSL.Error([("SSL routines", "", "wrong version number")]), "TLS failed: wrong version number"),
            (SSL.Error(), "TLS failed: nothing"),
        ):
            self.assertIn(words, str(tls_trouble(Failure(error))))

    def test_any_other_end_is_not_of_tls(self) -> None:
        self.assertIsNone(tls_trouble(Failure(ConnectionDone())))
