-- The first catalog: names, membership, manifests with their bytes, tags, upload sessions.
-- Kept to what SQLite and PostgreSQL share. Names compare by bytes. Times are seconds since the epoch, UTC.

CREATE TABLE setting (
    key text NOT NULL PRIMARY KEY,
    value text NOT NULL
);

CREATE TABLE repository (
    id bigint NOT NULL PRIMARY KEY,
    name text NOT NULL UNIQUE,
    created_at_s double precision NOT NULL
);

-- Bytes that the backend holds under the digest's key, whichever repositories may see them.
CREATE TABLE blob (
    digest text NOT NULL PRIMARY KEY,
    size_bytes bigint NOT NULL,
    stored_at_s double precision NOT NULL
);

-- Which repository may see which blob.
CREATE TABLE repository_blob (
    repository_id bigint NOT NULL REFERENCES repository (id),
    digest text NOT NULL REFERENCES blob (digest),
    added_at_s double precision NOT NULL,
    PRIMARY KEY (repository_id, digest)
);
CREATE INDEX repository_blob_by_digest ON repository_blob (digest);

-- The exact bytes of a manifest, once for all repositories.
CREATE TABLE manifest_body (
    digest text NOT NULL PRIMARY KEY,
    content blob NOT NULL
);

CREATE TABLE manifest (
    repository_id bigint NOT NULL REFERENCES repository (id),
    digest text NOT NULL REFERENCES manifest_body (digest),
    media_type text NOT NULL,
    size_bytes bigint NOT NULL,
    subject text,
    artifact_type text,  -- of a referrer, if it has one that a request can ask for
    referrer text,  -- the descriptor that the referrers API shows, as JSON; set when there is a subject
    pushed_at_s double precision NOT NULL,
    PRIMARY KEY (repository_id, digest)
);
CREATE INDEX manifest_by_subject ON manifest (repository_id, subject, digest) WHERE subject IS NOT NULL;
CREATE INDEX manifest_by_digest ON manifest (digest);

-- What a manifest's bytes refer to; the same for every repository that has the manifest.
CREATE TABLE manifest_reference (
    manifest text NOT NULL REFERENCES manifest_body (digest),
    referenced text NOT NULL,
    kind text NOT NULL,  -- config, layer, foreign, child or subject
    PRIMARY KEY (manifest, referenced, kind)
);
CREATE INDEX manifest_reference_by_referenced ON manifest_reference (referenced);

-- A tag always points at a manifest of its own repository.
CREATE TABLE tag (
    repository_id bigint NOT NULL,
    name text NOT NULL,
    digest text NOT NULL,
    updated_at_s double precision NOT NULL,
    PRIMARY KEY (repository_id, name),
    FOREIGN KEY (repository_id, digest) REFERENCES manifest (repository_id, digest)
);
CREATE INDEX tag_by_digest ON tag (repository_id, digest);

-- The ledger of upload sessions. The repository is named, not referenced: a session makes none.
CREATE TABLE upload (
    id text NOT NULL PRIMARY KEY,
    repository text NOT NULL,
    algorithm text NOT NULL,
    created_at_s double precision NOT NULL,
    touched_at_s double precision NOT NULL,
    owner text NOT NULL,
    declared_size_bytes bigint,
    part_size_bytes bigint,
    state text NOT NULL
);
