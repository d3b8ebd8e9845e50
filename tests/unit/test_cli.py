"""The command line: what it calls, what it prints, and how it says no."""

import argparse
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import cli
from cli import Command, Invocation, UsageError
from config import Config, ConfigError
from config.settings import SETTINGS
from model.version import VERSION
from tests.repo.tree import ROOT


class Serving:
    """Stands in for the server: remembers what it was given and answers as told."""

    def __init__(self, answer: int | Exception = 0) -> None:
        self.answer = answer
        self.configs: list[Config] = []

    def __call__(self, config: Config) -> int:
        self.configs.append(config)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def run(*argv: str, serve: Serving | None = None, **environ: str) -> int:
    """Run one command line in an environment that says nothing else."""
    return cli.run(argv, serve=serve or Serving(), environ={"HOLDFAST_CONFIG": os.devnull} | environ)


def test_serve_gets_what_flags_environment_and_file_decided(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text("[uploads]\nmax_uploads = 3\n")
    serve = Serving(7)
    argv = ("serve", "--listen", "[::1]:0", "--data", str(tmp_path), "--config", str(file))
    assert run(*argv, serve=serve, HOLDFAST_GRACE="5s") == 7
    (config,) = serve.configs
    assert (str(config.listen), config.data_dir, config.max_uploads, config.grace_s) == ("[::1]:0", tmp_path, 3, 5)


@pytest.mark.parametrize(
    ("words", "on"),
    [(["--sparse-indexes"], True), (["--sparse-indexes", "on"], True), (["--sparse-indexes=off"], False)],
)
def test_a_switch_may_stand_alone_and_then_means_on(words: list[str], on: bool) -> None:
    serve = Serving()
    assert run("serve", *words, "--grace=1s", serve=serve) == 0
    assert serve.configs[0].sparse_indexes is on


def test_the_flag_for_the_data_folder_has_its_regular_name_too(tmp_path: Path) -> None:
    serve = Serving()
    assert run("serve", "--data-dir", str(tmp_path), serve=serve) == 0
    assert serve.configs[0].data_dir == tmp_path


def test_config_show_prints_toml_with_origins(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("config", "show", "--listen", "h:1", HOLDFAST_LOG_LEVEL="debug") == 0
    printed = capsys.readouterr().out
    assert tomllib.loads(printed)["server"]["listen"] == "h:1"
    assert "# flag --listen" in printed
    assert "# environment HOLDFAST_LOG_LEVEL" in printed


def test_config_show_speaks_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("config", "show", "--json", "--upload-expiry", "2h") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["upload_expiry"] == {"value": "2h", "origin": "flag --upload-expiry"}
    assert told["log_level"] == {"value": "info", "origin": "default"}


def test_config_check_says_that_all_is_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("config", "check", "--data", str(tmp_path)) == 0
    assert capsys.readouterr().out == (
        f"The configuration is good: listening on 127.0.0.1:5000, keeping everything in {tmp_path}.\n"
    )


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["serve", "--listen", "x"], "listen = 'x' (flag --listen): expected HOST:PORT"),
        (["serve", "--listn", "h:1"], "unrecognized arguments: --listn h:1; did you mean --listen?; see"),
        (["serve", "--lis", "h:1"], "unrecognized arguments: --lis h:1"),
        (["--vers"], "the following arguments are required: COMMAND"),
        (["serve", "here"], "unrecognized arguments: here; see registry.py --help"),
        (["serve", "--grace"], "argument --grace: expected one argument; see registry.py serve --help"),
        (["serve", "--config", "/nonexistent/x"], "configuration file /nonexistent/x: not there"),
        (["serv"], "argument COMMAND: invalid choice: 'serv'"),
        (["config"], "the following arguments are required: COMMAND; see registry.py config --help"),
        ([], "the following arguments are required: COMMAND; see registry.py --help"),
        (["config", "check", "--data", "/dev/null"], "data_dir = /dev/null (flag --data): /dev/null is not a folder"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_2(
    argv: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*argv) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"registry.py: {line}")
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize("problem", [ConfigError("the port is taken"), UsageError("the port is taken")])
def test_what_only_a_start_can_find_out_is_told_in_the_same_way(
    problem: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("serve", serve=Serving(problem)) == 2
    assert capsys.readouterr().err == "registry.py: the port is taken\n"


def test_a_mistake_of_ours_is_not_dressed_up_as_the_operators() -> None:
    with pytest.raises(ZeroDivisionError):
        run("serve", serve=Serving(ZeroDivisionError()))


def test_an_interrupt_ends_a_command_without_a_traceback() -> None:
    def interrupted(config: Config) -> int:
        raise KeyboardInterrupt

    assert cli.run(["serve"], serve=interrupted, environ={}) == 130


def test_help_is_enough_to_get_going(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        run("--help")
    assert left.value.code == 0
    printed = capsys.readouterr().out
    assert {
        word for word in ("serve", "config show", "--data", "docker push", "skopeo copy") if word not in printed
    } == set()


def test_help_of_serve_lists_every_setting_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("serve", "--help")
    printed = " ".join(capsys.readouterr().out.split())
    rows = [(row.flags[0], f"Default: {row.default or 'empty'}.") for row in SETTINGS]
    assert [row for row in rows if row[0] not in printed or row[1] not in printed] == []


def test_version_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """G12: what runs here can be told."""
    with pytest.raises(SystemExit) as left:
        run("--version")
    assert left.value.code == 0
    assert capsys.readouterr().out == f"holdfast {VERSION}\n"


def test_a_command_more_is_one_function_and_one_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("name")

    def delete(invocation: Invocation) -> int:
        """Delete a tag."""
        print(invocation.options.name, invocation.config.data_dir)
        return 5

    row = Command(("tag", "delete"), "delete a tag", delete, arguments, settings=("data_dir",))
    argv = ["tag", "delete", "--data", str(tmp_path), "latest"]
    assert cli.run(argv, serve=Serving(), more=[row], environ={}) == 5
    assert capsys.readouterr().out == f"latest {tmp_path}\n"
    assert cli.run([*argv, "--grace", "1s"], serve=Serving(), more=[row], environ={}) == 2


def test_a_reader_that_goes_away_is_no_error() -> None:
    """As in `registry.py config page | head -0`."""
    program = "import sys, cli; sys.exit(cli.run(['config', 'page'], serve=print, environ={}))"
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "wb") as pipe:
        ended = subprocess.run(
            [sys.executable, "-u", "-c", program],
            cwd=ROOT,
            stdout=pipe,
            stderr=subprocess.PIPE,
            timeout=30,
            check=False,
        )
    assert (ended.returncode, ended.stderr) == (1, b"")
