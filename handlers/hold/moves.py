"""POST /move: what was completed under a temporary name becomes a blob under its digest (H030, H078, H110)."""

from aiohttp import web

from auth.policy import Action
from handlers import answers
from handlers.call import Call
from handlers.hold import acts, fields
from handlers.hold.fields import Fields, TempName
from model import names
from model.digests import Digest
from model.errors import DigestInvalid


async def move(call: Call) -> web.StreamResponse:
    """Verify and publish. `from`, `to` and `did` are in the query, or in a JSON body; 200, and again when repeated."""
    query = Fields.of_query(call.query)
    in_query = query.said("from") is not None or query.said("to") is not None
    said = query if in_query else await acts.fields_of(call)
    source, digest = fields.required_target(said, "from"), fields.required_target(said, "to")
    if not isinstance(source, TempName) or not isinstance(digest, Digest):
        raise DigestInvalid("a move leads from a temporary name (uploads/temp-<id>) to a digest")
    sessions, owner = call.services.sessions.parted, call.principal.name
    session = sessions.assembled(owner, str(source))
    call.require(Action.HOLD, names.hidden_repository(owner) if session is None else session.row.repository)
    done = await sessions.publish(owner, str(source), digest)
    if session is not None:  # otherwise an answer was lost, and this is the same once more
        await acts.tell(call, session, done, digest)
    return answers.document({"status": "moved", "digest": done.digest, "size": done.size_bytes})
