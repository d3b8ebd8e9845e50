-- Content in an object store: where bytes lie until they are settled, and everything of ours that is in the making there.

-- The key under which the bytes lie while they are not yet copied to the key of their digest; NULL: there.
ALTER TABLE blob ADD COLUMN storage_key text;
CREATE INDEX blob_unsettled ON blob (storage_key) WHERE storage_key IS NOT NULL;

-- 'buffered': parts come through this server; 'native': clients put them straight into the store.
ALTER TABLE upload ADD COLUMN mode text NOT NULL DEFAULT 'buffered';

-- What the store answered for the part; set: the store has it, and its bytes need not be in the spool any more.
-- Sessions in sequence have rows here as well: the slices of theirs that the store has.
ALTER TABLE upload_part ADD COLUMN store_etag text;

-- An object that we make, or made, under a key that is not yet, or no more, a blob's. Written before the store is asked
-- for anything, and removed when nothing is left there: so a crash at any step leaves nothing that nobody knows of.
CREATE TABLE store_object (
    key text NOT NULL,
    upload_id text NOT NULL,  -- the session it is made for
    owner text NOT NULL,
    created_at_s double precision NOT NULL,
    store_upload_id text,  -- the store's own id of the multipart upload; NULL until it is known
    state text NOT NULL,  -- making; whole: an object; discard: to be removed
    PRIMARY KEY (key, upload_id)
);
CREATE INDEX store_object_by_upload ON store_object (upload_id);
