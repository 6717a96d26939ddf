"""Tests for chatproto.cli.commands: every form, every mistake."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chatproto.cli import commands
from chatproto.cli.commands import (
    FORMS,
    Announce,
    Ban,
    ChangeIdentity,
    CloseRoom,
    CreateRoom,
    DeleteRoom,
    Help,
    Join,
    Kick,
    Leave,
    ListBans,
    ListRooms,
    Mistake,
    Private,
    Quit,
    Say,
    Search,
    ShowStatus,
    Silence,
    Unban,
    Unsilence,
    Who,
    explanations,
    parse,
    usage,
)


class Understood(SynchronousTestCase):
    def test_every_form(self) -> None:
        for line, command in {
            "#help": Help(),
            "#help join": Help("join"),
            "#help #Join": Help("join"),
            "#join Den": Join("Den"),
            "#join Den stay": Join("Den", stay=True),
            "#join Den STAY": Join("Den", stay=True),
            "#leave": Leave(),
            "#leave Den": Leave("Den"),
            "#list": ListRooms(),
            "#who": Who(),
            "#who Den": Who("Den"),
            "#identitychange alice": ChangeIdentity("alice"),
            "#private bob hello there": Private("bob", "hello there"),
            "#createroom Den": CreateRoom("Den"),
            "#delete Den": DeleteRoom("Den"),
            "#kick Den bob 30": Kick("Den", "bob", 30),
            '#search a "b c"  d* ': Search('a "b c"  d* '),
            "#ban bob 30": Ban("bob", 30),
            "#ban 192.0.2.0/24 30 for  spam": Ban("192.0.2.0/24", 30, "for  spam"),
            "#unban bob": Unban("bob"),
            "#bans": ListBans(),
            "#silence bob 30": Silence("bob", 30),
            "#unsilence bob": Unsilence("bob"),
            "#close Den": CloseRoom("Den"),
            "#announce hello  all": Announce("hello  all"),
            "#status": ShowStatus(),
            "#quit": Quit(),
        }.items():
            self.assertEqual(parse(line), command, line)

    def test_the_table_above_names_every_command(self) -> None:
        self.assertEqual(
            set(FORMS),
            {
                *("help", "join", "leave", "list", "who", "identitychange", "private"),
                *("createroom", "delete", "kick", "search", "status", "quit"),
                *("ban", "unban", "bans", "silence", "unsilence", "close", "announce"),
            },
        )

    def test_commands_are_typed_in_any_case_and_with_any_space(self) -> None:
        for line in ("#JOIN Den", "#Join   Den  ", "#join\tDen", "#join Den\r\n"):
            self.assertEqual(parse(line), Join("Den"), repr(line))

    def test_names_keep_their_case(self) -> None:
        self.assertEqual(parse("#join dEN"), Join("dEN"))

    def test_a_private_text_keeps_its_spaces_and_lines(self) -> None:
        self.assertEqual(parse("#private bob  two  words \n more"), Private("bob", "two  words \n more"))

    def test_anything_else_is_said_as_it_stands(self) -> None:
        for line in ("hello", "  hello ", "/join Den", "a #join b", " #join Den", "two\nlines", "é 漢 👍"):
            self.assertEqual(parse(line), Say(line))

    def test_the_end_of_the_line_is_not_said(self) -> None:
        self.assertEqual(parse("hello\r\n"), Say("hello"))

    def test_two_signs_say_one(self) -> None:
        self.assertEqual(parse("##join Den"), Say("#join Den"))
        self.assertEqual(parse("###"), Say("##"))

    def test_blank_lines_say_nothing(self) -> None:
        for line in ("", " ", "\n", "\t \r\n"):
            self.assertIsNone(parse(line), repr(line))


class Mistakes(SynchronousTestCase):
    def assertMistake(self, line: str, *parts: str) -> None:
        mistake = parse(line)
        assert isinstance(mistake, Mistake), (line, mistake)
        for part in parts:
            self.assertIn(part, mistake.text)

    def test_a_misspelt_command_is_told_its_neighbour(self) -> None:
        self.assertMistake("#jion Den", "#jion", "did you mean #join?", "##")

    def test_an_unknown_command_is_told_of_help_and_of_two_signs(self) -> None:
        for line in ("#", "# a heading", "#xyzzy", "#1"):
            self.assertMistake(line, "#help", "##")

    def test_a_long_word_is_not_repeated_whole(self) -> None:
        mistake = parse("#" + "z" * 10_000)
        assert isinstance(mistake, Mistake)
        self.assertLess(len(mistake.text), 200)

    def test_missing_arguments_are_told_the_usage(self) -> None:
        for name in ("join", "identitychange", "private", "createroom", "delete", "kick"):
            self.assertMistake(f"#{name}", "something is missing", usage(name))
        self.assertMistake("#private bob", "something is missing", "#private NAME TEXT")
        self.assertMistake("#kick Den bob", "something is missing", "#kick ROOM NAME SECONDS")

    def test_too_many_arguments_are_told_the_usage(self) -> None:
        for name, form in FORMS.items():
            if not {"TEXT", "[TEXT]"} & {*form.arguments}:
                line = f"#{name}" + " join" * (len(form.arguments) + 1)
                self.assertMistake(line, "that is too much", usage(name))

    def test_seconds_are_a_whole_positive_number(self) -> None:
        for seconds in ("0", "-1", "1.5", "soon", "٣", "²", "9" * 5000, str(commands.KICK_S_MAX + 1)):
            self.assertMistake(f"#kick Den bob {seconds}", "SECONDS", "#kick ROOM NAME SECONDS")
            self.assertMistake(f"#ban bob {seconds}", "SECONDS", "#ban NAME SECONDS [TEXT]")
            self.assertMistake(f"#silence bob {seconds}", "SECONDS", "#silence NAME SECONDS")
        self.assertEqual(parse(f"#kick Den bob {commands.KICK_S_MAX}"), Kick("Den", "bob", commands.KICK_S_MAX))

    def test_join_knows_one_word_only(self) -> None:
        self.assertMistake("#join Den please", "please", "#join ROOM [stay]")

    def test_help_for_what_does_not_exist(self) -> None:
        self.assertMistake("#help jion", "did you mean #join?")

    @given(st.text())
    def test_any_line_is_understood_or_explained(self, line: str) -> None:
        parse(line)
        parse("#" + line)
        for name in FORMS:
            parse(f"#{name} {line}")


class Explained(SynchronousTestCase):
    def test_help_lists_every_command_and_the_two_signs(self) -> None:
        text = "\n".join(explanations())
        for name in FORMS:
            self.assertIn(usage(name), text)
        self.assertIn("##TEXT", text)

    def test_help_for_one_command_is_one_line(self) -> None:
        (line,) = explanations("kick")
        self.assertTrue(line.startswith("#kick ROOM NAME SECONDS  "), line)
