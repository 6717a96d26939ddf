import io
import json
import os
from typing import Any

from twisted.application.service import Application, Service
from twisted.logger import ILogObserver, Logger, LogLevel, LogPublisher, capturedLogs
from twisted.python import log as old_log
from twisted.trial.unittest import SynchronousTestCase

from chatproto.jsonlog import FIELD_CHARS_MAX, line_of, logged_as_json

log = Logger(namespace="chatproto.somewhere")


class Unshowable:
    def __str__(self) -> str:
        raise RuntimeError("no")


class LineTests(SynchronousTestCase):
    def line(self, event: dict[str, Any]) -> dict[str, Any]:
        text = line_of(event)
        self.assertEqual(text.count("\n"), 1)
        self.assertTrue(text.endswith("\n"))
        found: dict[str, Any] = json.loads(text)
        return found

    def test_an_event(self) -> None:
        with capturedLogs() as events:
            log.warn("{who} is {state}", who="the\nother", state=None, count=3, share=0.5, sure=True)
        events[0]["log_time"] = 1700000000.25
        self.assertEqual(
            self.line(events[0]),
            {
                "time": "2023-11-14T22:13:20.250+00:00",
                "level": "warn",
                "namespace": "chatproto.somewhere",
                "event": "{who} is {state}",
                "text": "the\nother is None",
                "fields": {"who": "the\nother", "state": None, "count": 3, "share": 0.5, "sure": True},
            },
        )

    def test_a_failure_has_its_traceback(self) -> None:
        with capturedLogs() as events:
            try:
                raise ValueError("broken")
            except ValueError:
                log.failure("reading failed")
        self.flushLoggedErrors(ValueError)
        found = self.line(events[0])
        self.assertEqual(found["level"], LogLevel.critical.name)
        self.assertNotIn("fields", found)
        self.assertEqual((found["failure"]["type"], found["failure"]["message"]), ("ValueError", "broken"))
        self.assertIn("test_jsonlog.py", found["failure"]["traceback"])

    def test_what_is_no_json_is_text_that_ends(self) -> None:
        event = {"log_format": "x", "long": "y" * 10000, "set": {1}, "bad": Unshowable(), "endless": float("nan")}
        fields = self.line(event)["fields"]
        self.assertEqual(fields["long"], "y" * FIELD_CHARS_MAX)
        self.assertEqual((fields["set"], fields["endless"]), ("{1}", None))
        self.assertEqual(fields["bad"], "(cannot be shown: RuntimeError)")

    def test_what_cannot_be_filled_in_is_written_all_the_same(self) -> None:
        found = self.line({"log_format": "{missing}", "log_level": LogLevel.info, "log_namespace": "here"})
        self.assertIn("missing", found["text"])

    def test_events_of_the_old_log(self) -> None:
        with capturedLogs() as events:
            old_log.msg("starting", system="somebody's")
        found = self.line(events[0])
        self.assertEqual((found["event"], found["text"], found["namespace"]), ("starting", "starting", "somebody's"))
        self.assertNotIn("fields", found)


class ObserverTests(SynchronousTestCase):
    def test_the_application_gets_an_observer_that_writes_where_it_is_told(self) -> None:
        path = os.path.abspath(self.mktemp())
        inner = Service()
        service = logged_as_json(inner, {"logfile": path, "nodaemon": True})
        application = Application("chat")
        service.setServiceParent(application)  # type: ignore[attr-defined]
        observer = application.getComponent(ILogObserver)
        LogPublisher(observer)({"log_format": "{x}", "x": 1})
        with open(path) as file:
            self.assertEqual(json.loads(file.read())["text"], "1")
        self.assertIs(inner.parent, service)

    def test_in_the_foreground_it_goes_to_standard_output(self) -> None:
        out = io.StringIO()
        self.patch(__import__("sys"), "stdout", out)
        for path in ("", "-", None):
            application = Application("chat")
            service = logged_as_json(Service(), {"logfile": path, "nodaemon": True})
            service.setServiceParent(application)  # type: ignore[attr-defined]
            application.getComponent(ILogObserver)({"log_format": "here"})
        self.assertEqual(out.getvalue().count('"text":"here"'), 3)

    def test_a_daemon_has_no_standard_output(self) -> None:
        service = logged_as_json(Service(), {"logfile": "-", "nodaemon": False})
        with self.assertRaises(SystemExit):
            service.setServiceParent(Application("chat"))  # type: ignore[attr-defined]

    def test_without_an_application_it_is_a_service_as_any_other(self) -> None:
        service = logged_as_json(Service(), None)
        service.startService()
        self.assertTrue(service.running)  # type: ignore[attr-defined]
