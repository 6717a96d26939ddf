"""Tests for chatproto.cli.news.reaching: what a command shows of itself."""

import os
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from chatproto.cli.news import reaching
from chatproto.cli.news.reaching import Reach
from chatproto.errors import TrustError
from chatproto.trust.interface import BELIEVING
from chatproto.trust.sharing import SharedSecret


class TrustTests(SynchronousTestCase):
    def test_nothing_is_shown_unless_it_is_given(self) -> None:
        self.assertIs(Reach().trust(), BELIEVING)

    def test_a_secret_is_read(self) -> None:
        path = self.mktemp()
        self.assertRaises(TrustError, Reach(shared_file=path).trust)
        with open(path, "w") as file:
            file.write("x" * 32)
        os.chmod(path, 0o600)
        self.assertIsInstance(Reach(shared_file=path).trust(), SharedSecret)

    def test_certificates_are_read_and_make_the_tls(self) -> None:
        self.assertRaises(TrustError, Reach(certificates=self.mktemp(), name="east").trust)
        with patch.object(reaching, "registry_endpoint") as made:
            Reach(registry="tls:here:4646", certificates="there").registry_endpoint(None)
            Reach(registry="tls:here:4646").registry_endpoint(None)
        self.assertEqual([call.args[1] for call in made.call_args_list], ["here:4646", "tls:here:4646"])
