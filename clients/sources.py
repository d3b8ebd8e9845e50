"""What the person named, looked at: a layout, an archive, or a file; and what to push of it."""

from pathlib import Path

from clients.artifacts import file_plan
from clients.images import is_saved_image, saved_plan
from clients.layouts import is_layout, layout_plan
from clients.plans import NotPushable, Plan
from clients.references import DEFAULT_TAG
from clients.trees import Archive, Folder, is_tar, refuse_compressed_archive


def plan_of(source: Path, *, ref: str | None, tag: str | None, media_type: str | None) -> Plan:
    """What to push. With a `media_type` the source is a file of that type, whatever is in it.

    Raises:
        NotPushable: it is nothing that can be pushed, or not clear what of it.
    """
    try:
        if source.is_dir():
            return _of_folder(source, ref, tag, media_type)
        if not source.is_file():
            raise NotPushable(
                f"{source} is not there" if not source.exists() else f"{source} is neither file nor folder"
            )
        return _of_file(source, ref, tag, media_type)
    except OSError as error:
        raise NotPushable(f"{source} cannot be read: {error.strerror}") from error


def _of_folder(source: Path, ref: str | None, tag: str | None, media_type: str | None) -> Plan:
    tree = Folder(source)
    if media_type is not None:
        raise NotPushable(f"{source} is a folder; --type is for files")
    if not is_layout(tree):
        raise NotPushable(
            f"{source} is a folder, but no OCI layout (oci-layout and index.json are not in it)",
            "skopeo copy ... oci:FOLDER:TAG makes one; or pack the folder into a file",
        )
    return layout_plan(tree, str(source), ref, tag)


def _of_file(source: Path, ref: str | None, tag: str | None, media_type: str | None) -> Plan:
    if media_type is None:
        refuse_compressed_archive(source)
        if is_tar(source):
            tree = Archive(source)
            if is_layout(tree):
                return layout_plan(tree, str(source), ref, tag)
            if is_saved_image(tree):
                return saved_plan(tree, str(source), ref, tag)
    if ref is not None:
        raise NotPushable(f"{source} is a single file; --ref chooses from layouts and archives")
    return file_plan(source, media_type, tag or DEFAULT_TAG)
