from twisted.trial.unittest import SynchronousTestCase

from chatproto.news.proxy import sessions as sessions_module
from chatproto.news.proxy.sessions import IDLE_S_MAX, PER_READER_MAX, SESSION_S_MAX, Sessions


class SessionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.sessions = Sessions()
        self.sessions.begin("anna", "token", "form", 0)

    def test_who_brings_the_token_is_the_reader(self) -> None:
        session = self.sessions.find("token", 1)
        assert session is not None
        self.assertEqual(session.reader, "anna")
        self.assertTrue(session.allows("form"))
        self.assertFalse(session.allows("token"))
        self.assertFalse(session.allows("\udc80"))
        self.assertIsNone(self.sessions.find("another", 1))
        self.sessions.end("another")
        self.sessions.end("token")
        self.assertIsNone(self.sessions.find("token", 1))

    def test_it_is_over_when_nobody_was_there_for_long(self) -> None:
        self.assertIsNotNone(self.sessions.find("token", IDLE_S_MAX - 1))
        self.assertIsNotNone(self.sessions.find("token", 2 * IDLE_S_MAX - 2))
        self.assertIsNone(self.sessions.find("token", 3 * IDLE_S_MAX - 2))
        self.assertEqual(len(self.sessions), 0)

    def test_it_is_over_at_some_time_whoever_is_there(self) -> None:
        now = 0.0
        while now < SESSION_S_MAX:
            self.assertIsNotNone(self.sessions.find("token", now))
            now += IDLE_S_MAX / 2
        self.assertIsNone(self.sessions.find("token", SESSION_S_MAX))

    def test_of_one_reader_and_of_all_there_are_only_so_many(self) -> None:
        for number in range(PER_READER_MAX):
            self.sessions.begin("anna", f"anna-{number}", "form", 1)
        self.assertIsNone(self.sessions.find("token", 1))
        self.assertIsNotNone(self.sessions.find("anna-0", 1))
        self.patch(sessions_module, "SESSIONS_MAX", PER_READER_MAX)
        self.sessions.begin("bruno", "bruno", "form", 1)
        self.assertIsNone(self.sessions.find("anna-1", 1), "it was idle for longest")
        self.assertIsNotNone(self.sessions.find("anna-0", 1))
        self.assertEqual(len(self.sessions), PER_READER_MAX)
        self.sessions.expire(1 + IDLE_S_MAX)
        self.assertEqual(len(self.sessions), 0)
