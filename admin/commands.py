"""The operator's commands, as rows of the command line: what they take, what they ask, and how they tell.

Each asks for one operation (`admin/asking.py` knows which way) and prints the answer: as text, or with `--json` as it
is.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Final

from admin import rendering, restoring
from admin.asking import NobodyAnswers, NotDone, ask, ask_running
from admin.operations import Answer
from cli import PROGRAM, Command, Invocation, UsageError, json_option
from config.settings import BY_NAME

FOLDERS: Final = ("data_dir", "storage_root_dir", "storage_driver")
"""The settings that say which registry is meant."""
STORE: Final = (
    *(*FOLDERS, "listen", "public_url", "trusted_proxies", "disable_presigned_urls"),
    *(name for name in BY_NAME if name.startswith(("s3_", "aws_"))),
)
"""Those that say which object store is meant, and whether clients may be sent there."""

Run = Callable[[Invocation], int]
Arguments = Callable[[argparse.ArgumentParser], None]


def _telling_why(run: Run) -> Run:
    """`run`, with one line on stderr and exit code 1 for what could not be done."""

    @wraps(run)
    def telling(invocation: Invocation) -> int:
        try:
            return run(invocation)
        except NotDone as reason:
            print(f"{PROGRAM}: {reason}", file=sys.stderr)
            return 1

    return telling


def _tell(invocation: Invocation, answer: Answer, told: Callable[[Answer], Iterator[str]]) -> int:
    """Print an answer the way that was asked for."""
    print(json.dumps(answer, indent=2) if invocation.options.json else "\n".join(told(answer)))
    return 0


@_telling_why
def repo_list(invocation: Invocation) -> int:
    """List repositories with what they hold. Unique bytes are held by no other repository, shared ones are."""
    answer = ask(invocation.config, "repo.list", prefix=invocation.options.prefix)
    return _tell(invocation, answer, rendering.repositories)


@_telling_why
def repo_delete(invocation: Invocation) -> int:
    """Delete a repository with all its tags and manifests."""
    config, name = invocation.config, invocation.options.name
    if not invocation.options.yes and not _agreed(rendering.question(ask(config, "repo.show", name=name))):
        raise NotDone(f"{name} was not deleted")
    return _tell(invocation, ask(config, "repo.delete", name=name), rendering.deleted_repository)


def _agreed(question: str) -> bool:
    """Whether the person at the terminal says yes."""
    if not sys.stdin.isatty():
        raise UsageError("there is nobody to ask; say --yes to do it unasked")
    print(question, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


@_telling_why
def tag_list(invocation: Invocation) -> int:
    """List the tags of a repository."""
    return _tell(invocation, ask(invocation.config, "tag.list", repository=invocation.options.repo), rendering.tags)


@_telling_why
def tag_copy(invocation: Invocation) -> int:
    """Let a tag point at what another one of the same repository points at; it may be there already."""
    repository, source = _repository_and_tag(invocation.options.source)
    target = invocation.options.target
    answer = ask(invocation.config, "tag.copy", repository=repository, source=source, target=target)
    return _tell(invocation, answer, rendering.copied_tag)


@_telling_why
def tag_delete(invocation: Invocation) -> int:
    """Delete a tag. Its manifest stays, and can be pulled by its digest."""
    repository, tag = _repository_and_tag(invocation.options.name)
    answer = ask(invocation.config, "tag.delete", repository=repository, tag=tag)
    return _tell(invocation, answer, rendering.deleted_tag)


def _repository_and_tag(text: str) -> tuple[str, str]:
    """Both halves of `REPO:TAG`."""
    repository, colon, tag = text.rpartition(":")
    if not colon:
        raise UsageError(f"{text!r} names no tag; write REPOSITORY:TAG")
    return repository, tag


@_telling_why
def uploads_list(invocation: Invocation) -> int:
    """List the open uploads: what lies in the spool, for how long, and whether bytes arrive now."""
    return _tell(invocation, ask(invocation.config, "uploads.list"), rendering.uploads)


@_telling_why
def uploads_abort(invocation: Invocation) -> int:
    """End an upload and drop what it received. A client that is sending gets an error."""
    answer = ask(invocation.config, "uploads.abort", upload_id=invocation.options.id)
    return _tell(invocation, answer, rendering.aborted_upload)


@_telling_why
def keys_rotate(invocation: Invocation) -> int:
    """Sign URLs with a new key from now on. Those handed out before stay good until their own end, unless --revoke."""
    answer = ask(invocation.config, "keys.rotate", revoke="yes" if invocation.options.revoke else "")
    return _tell(invocation, answer, rendering.rotated_keys)


@_telling_why
def catalog_backup(invocation: Invocation) -> int:
    """Take a copy of the catalog now, beside those that are taken daily. Seven are kept."""
    return _tell(invocation, ask(invocation.config, "catalog.backup"), rendering.new_copy)


@_telling_why
def catalog_copies(invocation: Invocation) -> int:
    """List the copies of the catalog."""
    return _tell(invocation, ask(invocation.config, "catalog.copies"), rendering.copies)


@_telling_why
def restore(invocation: Invocation) -> int:
    """Put a copy in the place of the catalog. The server must be stopped; what is replaced is kept.

    Where there is no catalog, as on a machine that takes the place of a lost one, the newest copy is taken unless
    another is named; those in the bucket count as well.
    """
    if invocation.options.list:
        return _tell(invocation, restoring.there_are(invocation.config), rendering.copies)
    return _tell(invocation, restoring.brought_back(invocation.config, invocation.options.file), rendering.restored)


def _of_restore(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", nargs="?", help="as --list shows it; the newest if there is no catalog")
    parser.add_argument("--list", action="store_true", help="say which copies there are, here and in the bucket")
    json_option(parser)


@_telling_why
def status(invocation: Invocation) -> int:
    """Say how the running server is. Exit code 1 when none is running."""
    try:
        answer = ask_running(invocation.config, "status")
    except NobodyAnswers:
        if invocation.options.json:
            print(json.dumps({"running": False, "data_dir": str(invocation.config.data_dir)}, indent=2))
        raise
    return _tell(invocation, answer, rendering.status)


@_telling_why
def storage_check(invocation: Invocation) -> int:
    """Try the object store with the settings of the server: what works, what is slow, what is done instead.

    Exit code 0 when it does all that is needed, as it was set up. What lies in the bucket and nobody knows any more is
    listed, and with --fix removed: only below holdfast/, and while a server runs only what is an hour old.
    """
    from admin.storage import check  # here, since it brings all that speaks to object stores

    return check(invocation)


@_telling_why
def storage_take_over(invocation: Invocation) -> int:
    """Make the bucket, below its prefix, this registry's, whosever it was. Nothing in there is removed by that.

    For who wants to begin anew where another registry was: from then on that one does not start there any more.
    """
    return _tell(invocation, ask(invocation.config, "storage.take-over"), rendering.taken_over)


def _of_store(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--fix", action="store_true", help="remove what lies in the bucket and nobody knows any more")
    json_option(parser)


def _arguments(*names: tuple[str, str], yes: bool = False, prefix: bool = False, revoke: bool = False) -> Arguments:
    """What a command takes besides `--json`: positional arguments as (metavar, help)."""

    def add(parser: argparse.ArgumentParser) -> None:
        for name, help_text in names:
            parser.add_argument(name.lower(), metavar=name, help=help_text)
        if prefix:
            parser.add_argument("prefix", nargs="?", default="", metavar="PREFIX", help="only names that begin so")
        if yes:
            parser.add_argument("--yes", action="store_true", help="do not ask")
        if revoke:
            parser.add_argument("--revoke", action="store_true", help="end the URLs that were handed out before")
        json_option(parser)

    return add


_REPO: Final = ("REPO", "a repository, for example lab/tools")
_TAGGED: Final = ("a repository and one of its tags, for example lab/tools:1",)

COMMANDS: Final = (
    Command(("status",), "say how the running server is", status, _arguments(), FOLDERS),
    Command(("repo", "list"), "list repositories and their sizes", repo_list, _arguments(prefix=True), FOLDERS),
    Command(("repo", "delete"), "delete a repository", repo_delete, _arguments(("NAME", _REPO[1]), yes=True), FOLDERS),
    Command(("tag", "list"), "list the tags of a repository", tag_list, _arguments(_REPO), FOLDERS),
    Command(
        ("tag", "copy"),
        "let a tag point where another one points",
        tag_copy,
        _arguments(("SOURCE", *_TAGGED), ("TARGET", "the tag to set, without the repository")),
        FOLDERS,
    ),
    Command(("tag", "delete"), "delete a tag", tag_delete, _arguments(("NAME", *_TAGGED)), FOLDERS),
    Command(("uploads", "list"), "list open uploads", uploads_list, _arguments(), FOLDERS),
    Command(
        ("uploads", "abort"),
        "end an open upload",
        uploads_abort,
        _arguments(("ID", "as `uploads list` shows it")),
        FOLDERS,
    ),
    Command(("keys", "rotate"), "sign URLs with a new key", keys_rotate, _arguments(revoke=True), FOLDERS),
    Command(("storage", "check"), "try the object store", storage_check, _of_store, STORE),
    Command(
        ("storage", "take-over"), "make another registry's bucket this one's", storage_take_over, _arguments(), STORE
    ),
    Command(("catalog", "backup"), "take a copy of the catalog now", catalog_backup, _arguments(), FOLDERS),
    Command(("catalog", "copies"), "list the copies of the catalog", catalog_copies, _arguments(), FOLDERS),
    Command(("restore",), "bring back a copy of the catalog; the server must be stopped", restore, _of_restore, STORE),
)
